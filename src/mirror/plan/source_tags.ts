/** Step 4 of the walk, the rules: the tags of source repositories, and which of them are names of what belongs to images. */

import { isFallbackTag, subjectOfCosignTag } from "../../oci/referrers.ts";
import { defer, type Deferred } from "../../registry/deferred.ts";
import { Once } from "../../registry/once.ts";
import type { Repository } from "../../registry/repository/repository.ts";

/** Pages of tags that are read ahead of those who plan; a list that is longer tells nothing of what comes at its end. */
const PAGES_AHEAD = 100;
/** Pages that are read of a repository whose images are named by tag, to save a request for each tag that might be there. */
const PAGES_OF_NAMED = 10;

/** A page of tags, or what the list ended with. */
type Page = { tags: string[] } | { error: unknown };

/** Tags that belong to images, of the source repositories that were listed. */
export class SourceTags {
  #lists = new Map<string, Promise<ReadonlySet<string> | undefined>>();
  #found = new Once<string, ReadonlySet<string> | undefined>({ remembers: true });

  /**
   * Every tag of a repository, page by page; those that belong to images are noted on the way. The list is read ahead, so that
   * an image of its first page can wait for its end.
   *
   * @throws {RegistryError} when the registry refuses.
   */
  async *list(repository: Repository, signal?: AbortSignal): AsyncIterable<string[]> {
    const whole = defer<ReadonlySet<string> | undefined>();
    this.#lists.set(keyOf(repository), whole.promise);
    for await (const page of readAhead(repository.listTags(signal), whole)) {
      if ("error" in page) throw page.error;
      yield page.tags;
    }
  }

  /** The tags that belong to images, where a rule has listed the repository; `undefined` where nobody knows them all. */
  async known(repository: Repository): Promise<ReadonlySet<string> | undefined> {
    return await this.#lists.get(keyOf(repository));
  }

  /** Like {@linkcode known}, but a repository that was not listed is, if its list is short. */
  async find(repository: Repository, signal?: AbortSignal): Promise<ReadonlySet<string> | undefined> {
    const key = keyOf(repository);
    const list = this.#lists.get(key);
    if (list !== undefined) return await list;
    return await this.#found.do(key, () => listShort(repository, signal));
  }
}

/** Whether a tag may be one that belongs to an image, by its form. */
export function maybeBelongingTag(tag: string): boolean {
  return subjectOfCosignTag(tag) !== undefined || isListTag(tag);
}

/** Whether a tag has the form of a list of referrers of a digest that registries use. */
export function isListTag(tag: string): boolean {
  return /^sha(?:256|512)-/.test(tag) && isFallbackTag(tag);
}

function keyOf({ registry, name }: Repository): string {
  return `${registry.host}/${name}`;
}

function readAhead(
  pages: AsyncIterable<string[]>,
  whole: Deferred<ReadonlySet<string> | undefined>,
): ReadableStream<Page> {
  const iterator = pages[Symbol.asyncIterator]();
  const found = new Set<string>();
  const pull = async (controller: ReadableStreamDefaultController<Page>) => {
    try {
      const { done, value } = await iterator.next();
      if (done) {
        whole.resolve(found);
        return controller.close();
      }
      for (const tag of value) if (maybeBelongingTag(tag)) found.add(tag);
      controller.enqueue({ tags: value });
      if ((controller.desiredSize ?? 0) <= 0) whole.resolve(undefined);
    } catch (error) {
      // What was listed before is still there to be read: an error of the stream would throw it away.
      whole.resolve(undefined);
      controller.enqueue({ error });
      controller.close();
    }
  };
  const cancel = async () => {
    whole.resolve(undefined);
    await iterator.return?.();
  };
  return new ReadableStream<Page>({ pull, cancel }, { highWaterMark: PAGES_AHEAD });
}

async function listShort(
  repository: Repository,
  signal: AbortSignal | undefined,
): Promise<ReadonlySet<string> | undefined> {
  const found = new Set<string>();
  let pages = 0;
  try {
    for await (const page of repository.listTags(signal)) {
      if (++pages > PAGES_OF_NAMED) return undefined;
      for (const tag of page) if (maybeBelongingTag(tag)) found.add(tag);
    }
    return found;
  } catch {
    // Who may pull an image need not be allowed to list its repository; then each tag is asked for.
    signal?.throwIfAborted();
    return undefined;
  }
}
