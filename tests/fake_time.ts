/** The time that code reads from `performance.now()`, in the hands of a test. */

/**
 * Runs a test while `performance.now()` stands still except where it is told.
 *
 * @param test Gets what lets a number of milliseconds pass.
 */
export async function withFakeTime(test: (pass: (milliseconds: number) => void) => Promise<void>) {
  const { now } = performance;
  // Whole numbers: sums of fractions are not what they should be.
  let time = Math.ceil(now.call(performance));
  performance.now = () => time;
  try {
    await test((milliseconds) => time += milliseconds);
  } finally {
    performance.now = now;
  }
}
