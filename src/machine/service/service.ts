/** A mirror that runs again and again: one run at a time, each within its budget, each going on where the last one stopped. */

import type { Config } from "../../mirror/config/config.ts";
import { messageOf } from "../../mirror/plan/failure.ts";
import type { CopyEvent } from "../../mirror/copy/copy_event.ts";
import type { Report } from "../../mirror/report.ts";
import type { Store } from "../../mirror/store/store.ts";
import type { Clock } from "../../registry/clock.ts";
import type { OpenedRegistries } from "../network/config_registries.ts";
import type { Lease, Leases } from "../workers/leases.ts";
import { createSteadyClock } from "../workers/steady_clock.ts";
import { type Log, sayProgress } from "../terminal/log.ts";
import { type MirrorRunOptions, runMirror } from "./mirror_run.ts";
import { RunJournal } from "./run_journal.ts";
import { type RuleProgress, RunRecorder } from "./run_recorder.ts";
import { type RunRecord, type RunRequest, StatusMemory, type Trigger } from "./status.ts";

/** Options of {@linkcode MirrorService}. */
export interface MirrorServiceOptions {
  /** Reads and checks the config; asked before each run, so that a change counts from the next one on. */
  readConfig: () => Promise<Config>;
  /** How the registries of a config are reached. */
  openRegistries: (config: Config) => OpenedRegistries | Promise<OpenedRegistries>;
  /** The memory between runs. */
  store: Store;
  /** Leases that keep runs of several processes apart; without them only those of this one are. */
  leases?: Leases;
  /** Milliseconds a run may take; no limit unless told. */
  budget?: number;
  /** Milliseconds that blobs under way are given once the service is told to stop; 3 seconds unless told. */
  grace?: number;
  /** How images are mirrored. */
  mirrorOptions?: MirrorRunOptions["mirrorOptions"];
  /** Whether what `shortcomingsOf` finds makes a run one with failures: a rule that selects nothing, a tag that drifted. */
  isStrict?: boolean;
  /** Why nothing runs here, where nothing does. */
  refusal?: string | undefined;
  /** Posts notices; `globalThis.fetch` unless told. */
  fetch?: typeof fetch;
  /** Clock and dice. */
  clock?: Clock;
  /** Called with everything that happens in a run. */
  onEvent?: (event: CopyEvent) => void;
  /** Gets the report of each run that has ended, also of one that was stopped. */
  onReport?: (report: Report, run: RunRecord) => Promise<void>;
  /** Gets a line for each run that begins or ends, each failure and each warning; none is kept unless told. */
  log?: Log;
}

/** What came of asking for a run. */
export type RunResult = { type: "refused"; why: string } | { type: "ended"; run: RunRecord };

/** A run that has begun, or the reason why it has not. */
export type RunStart = { type: "refused"; why: string } | { type: "begun"; end: Promise<RunRecord> };

/** What a run is made of, besides its recorder. */
interface RunParts {
  request: RunRequest;
  lease: Lease;
  journal: RunJournal;
}

const RUN_LEASE = ["run"];
const BUSY = "a run is on already";

/** Runs a mirror when it is told to. */
export class MirrorService {
  /** What is remembered of the runs. */
  readonly memory: StatusMemory;
  #options: MirrorServiceOptions;
  /** Made anew for each run, so that it is right whenever the machine's clock was set. */
  #clock: Clock;
  #config: Config | undefined;
  #problem: string | undefined;
  #recorder: RunRecorder | undefined;
  #isBusy = false;
  #ended: Promise<unknown> = Promise.resolve();
  /** Milliseconds since 1970 after which nothing new is begun. */
  #stopAt = Infinity;
  #isStopped = false;
  #hardStop = new AbortController();

  /** Nothing happens before {@linkcode run}. */
  constructor(options: MirrorServiceOptions) {
    this.#options = options;
    this.#clock = options.clock ?? createSteadyClock();
    this.memory = new StatusMemory(options.store);
  }

  /** The config as it was last read. */
  get config(): Config | undefined {
    return this.#config;
  }

  /** Why nothing runs here, where nothing does. */
  get refusal(): string | undefined {
    return this.#options.refusal;
  }

  /** Why the config cannot be used, as long as it cannot. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** How far the run is that is on in this process, if one is. */
  get progress(): RunRecorder["progress"] | undefined {
    return this.#recorder?.progress;
  }

  /** How far each rule of that run is, by its source as written. */
  get ruleProgress(): ReadonlyMap<string, RuleProgress> | undefined {
    return this.#recorder?.rules;
  }

  /**
   * Reads the config, to find what is wrong with it before the first run.
   *
   * @throws {ConfigError} when it cannot be used.
   */
  async check(): Promise<Config> {
    try {
      this.#config = await this.#options.readConfig();
    } catch (error) {
      this.#problem = messageOf(error);
      throw error;
    }
    this.#problem = undefined;
    for (const warning of this.#config.warnings) this.#tell("warn", warning);
    return this.#config;
  }

  /** Runs once, unless a run is on, here or elsewhere. What fails is in the result, not thrown. */
  async run(trigger: Trigger, rule?: string): Promise<RunResult> {
    const start = await this.begin(trigger, rule);
    return start.type === "refused" ? start : { type: "ended", run: await start.end };
  }

  /** Begins a run, unless one is on, here or elsewhere. */
  async begin(trigger: Trigger, rule?: string): Promise<RunStart> {
    const why = this.#refusalOf(rule);
    if (why !== undefined) return this.#refuse(why);
    this.#isBusy = true;
    const begun = Promise.withResolvers<RunStart>();
    this.#ended = this.#runLeased(rule === undefined ? { trigger } : { trigger, rule }, begun);
    return await begun.promise;
  }

  /** Lets the run that is on end between blobs, or cuts it off after a time of grace, and waits until it is recorded. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#stopAt = -Infinity;
    const abort = () => this.#hardStop.abort(new DOMException("stopped", "AbortError"));
    const timer = setTimeout(abort, this.#options.grace ?? 3000);
    await this.#ended;
    clearTimeout(timer);
  }

  /** Whether the service has been told to stop. */
  get isStopped(): boolean {
    return this.#isStopped;
  }

  /**
   * Lets the run that is on end between blobs, as if its budget were used up; the next one goes on from there.
   *
   * @returns Whether one is on.
   */
  stopRun(): boolean {
    if (this.#recorder !== undefined) this.#stopAt = -Infinity;
    return this.#recorder !== undefined;
  }

  #refusalOf(rule: string | undefined): string | undefined {
    if (this.#options.refusal !== undefined) return this.#options.refusal;
    if (this.#isStopped) return "the service is stopping";
    if (this.#isBusy) return BUSY;
    const isKnown = rule === undefined || this.#config?.rules.some(({ source }) => source === rule);
    return isKnown ? undefined : `the config has no rule "${rule}"`;
  }

  #refuse(why: string): RunStart {
    this.#tell("info", `No run: ${why}`);
    return { type: "refused", why };
  }

  async #runLeased(request: RunRequest, begun: PromiseWithResolvers<RunStart>): Promise<void> {
    const lease = await this.#takeLease();
    if ("why" in lease) {
      this.#isBusy = false;
      return begun.resolve(this.#refuse(lease.why));
    }
    const end = this.#runAlone(request, lease).finally(async () => {
      await lease.release();
      this.#isBusy = false;
    });
    begun.resolve({ type: "begun", end });
    await end.catch((error) => this.#tell("error", messageOf(error)));
  }

  async #takeLease(): Promise<Lease | { why: string }> {
    const { leases } = this.#options;
    if (leases === undefined) {
      return {
        signal: new AbortController().signal,
        release: () => Promise.resolve(),
      };
    }
    try {
      return await leases.takeFromDead(RUN_LEASE, this.#hardStop.signal) ?? { why: `${BUSY}, elsewhere` };
    } catch (error) {
      return { why: `the database with the leases does not answer: ${messageOf(error)}` };
    }
  }

  async #runAlone(request: RunRequest, lease: Lease): Promise<RunRecord> {
    this.#clock = this.#options.clock ?? createSteadyClock();
    const recorder = new RunRecorder(this.memory, { ...request, startedAt: this.#time() });
    this.#recorder = recorder;
    const journal = new RunJournal(this.#options.log, recorder.startedAt);
    journal.begin(request);
    const stopSaying = sayProgress(() => recorder.progress, (line) => journal.say(line));
    try {
      await recorder.start();
      const run = await this.#mirror(recorder, { request, lease, journal });
      journal.end(run);
      await this.#notify(run, recorder);
      return run;
    } catch (error) {
      // Whoever has the lease now keeps the records.
      const run = lease.signal.aborted
        ? recorder.abandon(messageOf(lease.signal.reason))
        : await recorder.fail(messageOf(error), this.#time());
      journal.end(run);
      if (!lease.signal.aborted) await this.#notify(run, recorder);
      return run;
    } finally {
      stopSaying();
      recorder.stop();
      this.#recorder = undefined;
    }
  }

  /** The config that was read last says whom to tell, also when it cannot be read any more. */
  async #notify(run: RunRecord, { finished }: RunRecorder): Promise<void> {
    const targets = this.#config?.notify ?? [];
    if (targets.length === 0) return;
    const { Notifier } = await import("./notifier.ts");
    const { store, log, fetch } = this.#options;
    await new Notifier({ store, log, fetch, now: () => this.#clock.now() }).tell(targets, run, finished);
  }

  async #mirror(recorder: RunRecorder, { request, lease, journal }: RunParts): Promise<RunRecord> {
    const config = await this.check();
    const { rule: wanted } = request;
    const rules = config.rules.filter(({ source }) => wanted === undefined || source === wanted);
    recorder.follow(rules);
    const onEvent = (event: CopyEvent) => {
      recorder.add(event);
      journal.add(event);
      this.#options.onEvent?.(event);
    };
    const opened = await this.#options.openRegistries(config);
    try {
      if (!this.#isStopped) this.#stopAt = this.#clock.now() + (this.#options.budget ?? Infinity);
      const { store, mirrorOptions } = this.#options;
      const report = await runMirror(rules, opened, {
        store,
        mirrorOptions,
        traffic: recorder.traffic,
        signal: AbortSignal.any([lease.signal, this.#hardStop.signal]),
        clock: this.#clock,
        // Being told to stop brings the end forward.
        stopAt: () => this.#stopAt,
        onEvent,
      });
      lease.signal.throwIfAborted();
      journal.failures(report, rules);
      const run = await recorder.finish(rules, report, this.#options.isStrict);
      await this.#options.onReport?.(report, run);
      return run;
    } finally {
      opened.close();
    }
  }

  #time(): string {
    return new Date(this.#clock.now()).toISOString();
  }

  #tell(level: "info" | "warn" | "error", message: string): void {
    this.#options.log?.write(level, message);
  }
}
