/** Who may do what now, among several processes: leases, which one holder at a time has and which fall to others when it falls silent. */

/** Something this process alone may do until it lets go. */
export interface Lease {
  /** Aborted when somebody else has it, or when it can no longer be told. */
  readonly signal: AbortSignal;
  /** Lets go; only the first call counts, and it never fails. */
  release(): Promise<void>;
}

/** The leases of one process. */
export interface Leases {
  /**
   * Takes a lease that nobody has, or whose holder was seen silent for a lifetime.
   *
   * @returns `undefined` when somebody has it.
   * @throws {Error} what the database says when it does not answer.
   */
  take(name: readonly string[]): Promise<Lease | undefined>;
  /**
   * Takes a lease, and where somebody has it waits until they show that they are alive or have been silent for a lifetime.
   *
   * @returns `undefined` when somebody alive has it.
   * @throws {Error} what the database says when it does not answer, or the signal's reason.
   */
  takeFromDead(name: readonly string[], signal?: AbortSignal): Promise<Lease | undefined>;
  /**
   * Tells which of some leases below a name can be taken, because they were let go of or their holder was seen silent for a
   * lifetime. The database is read once, however many they are.
   *
   * @param ids Last parts of the leases' names.
   * @returns The free ones, and milliseconds after which the first of the others is free if its holder stays silent.
   * @throws {Error} what the database says when it does not answer.
   */
  survey(name: readonly string[], ids: readonly string[]): Promise<{ free: Set<string>; wait: number }>;
  /**
   * Removes what the dead have left of the leases below a name, and waits until it can be told who is dead.
   *
   * @throws {Error} what the database says when it does not answer, or the signal's reason.
   */
  clearDead(name: readonly string[], signal?: AbortSignal): Promise<void>;
}
