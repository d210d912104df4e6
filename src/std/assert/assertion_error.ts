/** The error every assertion of this package throws. */

/** Thrown when an assertion does not hold. */
export class AssertionError extends Error {
  /** Makes an assertion error with its message and, if there is one, the cause. */
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "AssertionError";
  }
}
