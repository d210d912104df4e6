/** Many promises at once, but not all of them. */

/**
 * Calls `iteratorFn` for every item, for at most `poolLimit` of them at a time, and passes on the results in the order
 * of the items. When a call fails no more than the pool holds begin; all that run are waited for, and the results of
 * the good ones are passed on before the errors of the others are thrown together. The calls do not wait for a slow reader. When the
 * reader leaves, no new call begins.
 *
 * @throws {RangeError} when `poolLimit` is no positive integer
 * @throws {AggregateError} from the iterator, with the errors of the calls that failed
 */
export function pooledMap<T, R>(
  poolLimit: number,
  array: Iterable<T> | AsyncIterable<T>,
  iteratorFn: (data: T) => Promise<R>,
): AsyncIterableIterator<R> {
  if (!Number.isInteger(poolLimit) || poolLimit < 1) {
    throw new RangeError(
      `Cannot pool as 'poolLimit' must be a positive integer: current value is ${poolLimit}`,
    );
  }
  return passOnResults(new Pool(poolLimit, array, iteratorFn));
}

async function* passOnResults<T, R>(pool: Pool<T, R>): AsyncGenerator<R> {
  for await (const call of pool.calls) {
    const outcome = await call;
    if (outcome) yield outcome.value;
  }
  if (pool.errors.length === 0) return;
  throw new AggregateError(pool.errors, "Cannot complete the mapping as an error was thrown from an item");
}

/** What a call gave, or nothing when it failed. */
type Outcome<R> = { value: R } | undefined;

class Pool<T, R> {
  /** The calls in the order of the items; none is ever rejected. */
  readonly calls: ReadableStream<Promise<Outcome<R>>>;
  /** Why calls failed, complete when `calls` is at its end. */
  readonly errors: unknown[] = [];
  readonly #limit: number;
  readonly #mapper: (item: T) => Promise<R>;
  readonly #running = new Set<Promise<unknown>>();
  #hasReader = true;

  constructor(limit: number, items: Iterable<T> | AsyncIterable<T>, mapper: (item: T) => Promise<R>) {
    this.#limit = limit;
    this.#mapper = mapper;
    this.calls = new ReadableStream({
      start: (controller) => void this.#run(items, controller),
      cancel: () => void (this.#hasReader = false),
    });
  }

  async #run(
    items: Iterable<T> | AsyncIterable<T>,
    controller: ReadableStreamDefaultController<Promise<Outcome<R>>>,
  ): Promise<void> {
    try {
      for await (const item of items) {
        if (!this.#hasReader) break;
        controller.enqueue(this.#start(item));
        if (this.#running.size < this.#limit) continue;
        await Promise.race(this.#running);
        if (this.errors.length > 0) break;
      }
    } catch (error) {
      this.errors.push(error);
    }
    await Promise.all(this.#running);
    if (this.#hasReader) controller.close();
  }

  #start(item: T): Promise<Outcome<R>> {
    const call = this.#call(item).then((outcome) => {
      // A call that failed keeps its place, so that a full pool notices.
      if (outcome) this.#running.delete(call);
      return outcome;
    });
    this.#running.add(call);
    return call;
  }

  async #call(item: T): Promise<Outcome<R>> {
    try {
      return { value: await this.#mapper(item) };
    } catch (error) {
      this.errors.push(error);
      return undefined;
    }
  }
}
