/** Step 6 of the walk, the copy: much work at once, of which none is left under way when it fails. */

/** Work of one kind that is done at once for one image; an index may have tens of thousands of children. */
const WORK_AT_ONCE = 64;

/** Does all of some work, so much at once. After a failure nothing more is begun; it is thrown when nothing is under way. */
export async function forAll(work: readonly (() => Promise<void>)[]): Promise<void> {
  await mapAll(work, (one) => one());
}

/**
 * Finds out something of each item, so much at once, in their order. After a failure nothing more is begun; it is thrown when
 * nothing is under way.
 */
export async function mapAll<Item, Value>(
  items: readonly Item[],
  work: (item: Item) => Promise<Value>,
  atOnce: number = WORK_AT_ONCE,
): Promise<Value[]> {
  let failure: { error: unknown } | undefined;
  const values: Value[] = [];
  const queue = items.entries();
  // Whoever is free takes the next item: a race of all that are under way costs as much again for each item that ends.
  const workThrough = async () => {
    for (const [place, item] of queue) {
      if (failure !== undefined) return;
      try {
        values[place] = await work(item);
      } catch (error) {
        failure ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, workThrough));
  if (failure !== undefined) throw (failure as { error: unknown }).error;
  return values;
}
