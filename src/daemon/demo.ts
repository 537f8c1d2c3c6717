/**
 * The whole product on one machine: the simulated robot behind its bridge, the daemon, and a receiver, joined by
 * sockets as on a real robot, with embedded defaults, in a folder of its own.
 *
 * The story it tells comes from three witnesses: the simulator (what really happened), the daemon (what the rules
 * saw) and the receiver (what came home). They are compared at the end.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { Worker } from "node:worker_threads";
import { finishConfig } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import { BELIEF_TOPICS } from "../demo/messages.ts";
import type { StoryEvent } from "../demo/robot.ts";
import type { RobotNote, RobotOrder, RobotThreadOptions } from "../demo/robot-thread.ts";
import type { TaskTruth, TruthEvent } from "../demo/truth.ts";
import type { Batch } from "../model/batch.ts";
import type { Episode } from "../model/episode.ts";
import { RECEIVER_DEFAULTS, Receiver } from "../receiver/receiver.ts";
import { systemClock } from "../std/clock.ts";
import { Fault } from "../std/fault.ts";
import { latest, msOfNs } from "../std/nanoseconds.ts";
import { waitMs } from "../std/wait.ts";
import { openLog } from "../telemetry/log.ts";
import { Daemon } from "./daemon.ts";

export type DemoOptions = {
  readonly seed: number;
  /** Ends after so many failure episodes came home; 0: only at the signal or `secondsMax`. */
  readonly episodesWanted: number;
  readonly secondsMax: number;
  /** New or empty; everything of the demo lies in it. */
  readonly folder: string;
  /** The rules do not get to see what the robot's controller believes, as in the judging of rules. */
  readonly isBeliefHidden: boolean;
};

/** One line of the story. `who` speaks: robot, lode or receiver. */
export type DemoTalk = (who: "robot" | "lode" | "receiver", text: string) => void;

export type DemoEpisode = {
  readonly id: string;
  readonly rule: string;
  readonly outcome: string;
  readonly attempts: number;
  readonly truth: { readonly event: string; readonly attempts: number; readonly outcome: string } | undefined;
  /** The receiver's copies. */
  readonly files: readonly string[];
  readonly receipt: { readonly kind: "signed"; readonly verified: boolean; readonly sha256: string } | undefined;
};

export type DemoResult = {
  readonly seed: number;
  readonly tasks: number;
  readonly episodes: readonly DemoEpisode[];
  /** What the simulator saw go wrong and no episode holds. */
  readonly missed: readonly { readonly event: string; readonly task: number; readonly atS: number }[];
  /** Failure episodes in which nothing happened, or whose attempts or outcome are not the simulator's. */
  readonly false: readonly { readonly id: string; readonly rule: string; readonly reason: string }[];
  readonly folder: string;
  readonly seconds: number;
  /** Processor seconds of everything: robot, rendering, bridge, daemon, receiver. */
  readonly cpuSeconds: number;
};

/** A firing belongs to a truth event that happened up to this long before it (and a blink after it). */
const FIRING_LAG_NS = 4_000_000_000n;
const FIRING_LEAD_NS = 500_000_000n;
const POLL_MS = 100;
const ROBOT = { id: "demo-arm", site: "demo", embodiment: "arm" };
/** What one arms beside the default rules on a robot that grasps. */
const MANIPULATOR_RULES = resolve(import.meta.dirname, "../../config/rules/manipulator.yaml");

const NOTHING_TOLD = { id: undefined, attempts: 1, isRecovered: false };

type Happened = { readonly task: number; readonly event: TruthEvent; readonly atNs: bigint };

export class Demo {
  readonly #options: DemoOptions;
  readonly #talk: DemoTalk;
  readonly #receiver: Receiver;
  readonly #robot: Worker;
  readonly #startMs = performance.now();
  readonly #events: Happened[] = [];
  readonly #tasks = new Map<number, TaskTruth>();
  readonly #sealed = new Map<string, { readonly episode: Episode; readonly batches: readonly Batch[] }>();
  readonly #home = new Map<string, readonly string[]>();
  #told: { readonly id: string | undefined; readonly attempts: number; readonly isRecovered: boolean } = NOTHING_TOLD;
  #failure: Error | undefined;

  private constructor(options: DemoOptions, talk: DemoTalk, receiver: Receiver, robot: Worker) {
    this.#options = options;
    this.#talk = talk;
    this.#receiver = receiver;
    this.#robot = robot;
  }

  /** Runs the demo to its end. Throws `Fault` if a part fails to start or dies. */
  static async run(options: DemoOptions, talk: DemoTalk, signal: AbortSignal): Promise<DemoResult> {
    mkdirSync(options.folder, { recursive: true });
    const folder = join(options.folder, "receiver");
    await using receiver = Receiver.open(
      { ...RECEIVER_DEFAULTS, folder, port: 0, freeBytesMin: 1e8 },
      { clock: systemClock, log: openLog("error", "receiver") },
    );
    const { url } = await receiver.listen();
    const robotOptions: RobotThreadOptions = { seed: options.seed, port: 0 };
    const robot = new Worker(new URL("../demo/robot-thread.ts", import.meta.url), { workerData: robotOptions });
    const demo = new Demo(options, talk, receiver, robot);
    try {
      const bridgeUrl = await demo.#listenToRobot();
      talk("receiver", `listens on ${url}`);
      talk("robot", `is behind rosbridge on ${bridgeUrl}`);
      return await demo.#record(demo.#configure(bridgeUrl, url), signal);
    } finally {
      robot.postMessage({ kind: "stop" } satisfies RobotOrder);
      await robot.terminate();
    }
  }

  #configure(bridgeUrl: string, receiverUrl: string): Config {
    const { folder, isBeliefHidden } = this.#options;
    const tokenFile = join(folder, "token");
    writeFileSync(tokenFile, this.#receiver.addRobot("demo-arm"), { mode: 0o600 });
    const given = {
      robot: { ...ROBOT, physics: "simulated", task_type: "pick_and_place" },
      sources: [{ url: bridgeUrl }],
      rules: { files: [MANIPULATOR_RULES] },
      topics: { exclude: isBeliefHidden ? [...BELIEF_TOPICS] : [] },
      ring: { folder: join(folder, "robot"), bytes_max: 2e9, free_bytes_min: 1e8 },
      upload: { receivers: [{ url: receiverUrl, token_file: tokenFile, public_keys: [this.#receiver.publicKey] }] },
      telemetry: { socket: join(folder, "control.sock"), log_level: "error" },
    };
    const path = join(folder, "lode.yaml");
    writeFileSync(path, `${JSON.stringify(given, null, 2)}\n`); // JSON is YAML: `lode … --config` works on the demo too
    return finishConfig(given, path);
  }

  async #record(config: Config, signal: AbortSignal): Promise<DemoResult> {
    const stop = new AbortController();
    const daemon = await Daemon.open(config, {
      log: openLog(config.telemetry.log_level, "main"),
      onNote: (note) => {
        if (note.kind === "event") this.#tellEvent(note.event.kind, note.event.rule, note.event.atNs, note.episode);
        else this.#tellSealed(note.episode);
      },
      onBatched: (episode, batches) => {
        this.#sealed.set(episode.id, { episode, batches });
        this.#talk(
          "lode",
          `wrote ${batches.map((batch) => `${batch.kind} ${kilobytes(batch.sizeBytes)}`).join(", ")}; sending`,
        );
      },
    });
    const running = daemon.run(AbortSignal.any([signal, stop.signal]));
    const watching = this.#watch(daemon, signal);
    await Promise.race([running, watching]);
    const result = await this.#conclude();
    stop.abort();
    await running;
    return { ...result, cpuSeconds: cpuSeconds() };
  }

  /** Until enough came home, the time is over, or somebody stops it. */
  async #watch(daemon: Daemon, signal: AbortSignal): Promise<void> {
    while (await waitMs(POLL_MS, signal)) {
      if (this.#failure !== undefined) throw this.#failure;
      await this.#lookForReceipts(daemon);
      const failures = [...this.#home.keys()].filter(
        (id) => this.#sealed.get(id)?.episode.kind === "failure" && this.#isTaskOver(id),
      );
      const isEnough = this.#options.episodesWanted > 0 && failures.length >= this.#options.episodesWanted;
      if (isEnough || this.#elapsedS() > this.#options.secondsMax) return;
    }
  }

  async #lookForReceipts(daemon: Daemon): Promise<void> {
    for (const [id, { episode }] of this.#sealed) {
      if (this.#home.has(id)) continue;
      const { state, batches } = await daemon.commands.episode(id);
      if (state !== "receipted") continue;
      const received = await this.#receiver.findEpisode(id);
      const files = received === undefined ? [] : this.#receiver.files(received);
      if (files.length < batches.length) continue;
      this.#home.set(id, files);
      this.#talk(
        "receiver",
        `signed ${batches.length} receipts for ${episode.rule}; the robot has verified them and deleted its copies`,
      );
      for (const file of files) this.#talk("receiver", `  ${file}`);
    }
  }

  async #conclude(): Promise<Omit<DemoResult, "cpuSeconds">> {
    const episodes = [...this.#sealed.values()].map(({ episode }) => episode);
    const failures = episodes.filter(({ kind }) => kind === "failure");
    const endedNs = failures.map(({ endNs }) => endNs).reduce(latest, 0n);
    const judged = await Promise.all(failures.map((episode) => this.#judge(episode)));
    const missed = this.#events
      .filter(({ atNs }) => atNs < endedNs && !failures.some((episode) => holds(episode, atNs)))
      .map(({ event, task }) => ({ event: event.kind, task, atS: event.atS }));
    return {
      ...{
        seed: this.#options.seed,
        tasks: this.#tasks.size,
        missed,
        folder: this.#options.folder,
        seconds: this.#elapsedS(),
      },
      episodes: judged,
      false: judged.flatMap((entry) => {
        const reason = differenceOf(entry);
        return reason === undefined ? [] : [{ id: entry.id, rule: entry.rule, reason }];
      }),
    };
  }

  async #judge(episode: Episode): Promise<DemoEpisode> {
    const { id, rule, outcome, attempts } = episode;
    const seen = this.#eventsOf(episode);
    const task = this.#tasks.get(seen[0]?.task ?? -1);
    const light = this.#sealed.get(id)?.batches.find((batch) => batch.kind === "light");
    const files = this.#home.get(id) ?? [];
    const [first] = seen;
    return {
      ...{ id, rule, outcome, attempts, files: files.filter((file) => file.endsWith(".mcap")) },
      truth:
        first === undefined
          ? undefined
          : { event: first.event.kind, attempts: task?.attempts ?? 0, outcome: task?.outcome ?? "unknown" },
      receipt:
        light === undefined || files.length === 0
          ? undefined
          : { kind: "signed", verified: true, sha256: light.sha256 },
    };
  }

  /** What the simulator saw just before one of the episode's firings. */
  #eventsOf(episode: Episode): readonly Happened[] {
    return this.#events.filter(({ atNs }) =>
      episode.firings.some((firing) => firing.atNs >= atNs - FIRING_LEAD_NS && firing.atNs <= atNs + FIRING_LAG_NS),
    );
  }

  #isTaskOver(id: string): boolean {
    const sealed = this.#sealed.get(id);
    if (sealed === undefined) return false;
    return this.#eventsOf(sealed.episode).every(({ task }) => this.#tasks.has(task));
  }

  #listenToRobot(): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#robot.on("error", (error) => this.#fail(error, reject));
      this.#robot.on("message", (note: RobotNote) => {
        if (note.kind === "listening") resolve(note.url);
        else if (note.kind === "story") this.#tellStory(note.event, note.wallNs);
        else if (note.kind === "late")
          this.#talk("robot", `could not keep up with real time: ${Math.round(note.lostMs)} ms lost`);
        else if (note.kind === "failed") this.#fail(new Error(note.message), reject);
      });
    });
  }

  #fail(cause: unknown, reject: (error: Error) => void): void {
    const fault = new Fault(
      "demo_failed",
      "The simulated robot failed.",
      "Run the demo again; if it stays so, it is a defect.",
      cause,
    );
    this.#failure = fault;
    reject(fault);
  }

  #tellStory(event: StoryEvent, wallNs: bigint): void {
    if (event.kind === "task_started") this.#talk("robot", `task ${event.task}: pick up the cup, carry it, place it`);
    if (event.kind === "operator_reset") this.#talk("robot", "a person stands the cup up again");
    if (event.kind === "truth") {
      this.#events.push({ task: event.task, event: event.event, atNs: wallNs });
      this.#talk("robot", truthText(event.event));
    }
    if (event.kind === "task_ended") {
      this.#tasks.set(event.truth.task, event.truth);
      this.#talk("robot", `task ${event.truth.task}: ${event.truth.outcome}, attempts ${event.truth.attempts}`);
    }
  }

  /** Several rules may see the same: what is news is what the open episode did not say before. */
  #tellEvent(kind: string, rule: string, atNs: bigint, open: Episode | undefined): void {
    const told = this.#told.id === open?.id ? this.#told : NOTHING_TOLD;
    if (kind === "firing") {
      const lagNs = atNs - (this.#events.at(-1)?.atNs ?? 0n);
      this.#talk(
        "lode",
        `${rule} fired${lagNs > FIRING_LAG_NS ? "" : `, ${Math.round(msOfNs(lagNs))} ms after it happened`}`,
      );
    }
    if (open === undefined) return;
    const isRecovered = open.outcome === "recovered";
    if (open.attempts > told.attempts) this.#talk("lode", `the robot tries again (attempt ${open.attempts})`);
    if (isRecovered && !told.isRecovered) this.#talk("lode", "the robot has recovered; keeping what follows");
    this.#told = { id: open.id, attempts: open.attempts, isRecovered };
  }

  #tellSealed(episode: Episode): void {
    const seconds = (Number(episode.endNs - episode.startNs) / 1e9).toFixed(1);
    this.#talk(
      "lode",
      `episode sealed: ${episode.rule}, ${episode.outcome}, attempts ${episode.attempts}, ${seconds} s`,
    );
  }

  #elapsedS(): number {
    return (performance.now() - this.#startMs) / 1000;
  }
}

function holds(episode: Episode, atNs: bigint): boolean {
  return episode.firings.some((firing) => firing.atNs >= atNs - FIRING_LEAD_NS && firing.atNs <= atNs + FIRING_LAG_NS);
}

/** Why the episode is not what happened; undefined if it is. */
function differenceOf({ truth, attempts, outcome }: DemoEpisode): string | undefined {
  if (truth === undefined) return "nothing happened";
  if (truth.attempts !== attempts) return `${attempts} attempts, in truth ${truth.attempts}`;
  if (truth.outcome !== outcome) return `${outcome}, in truth ${truth.outcome}`;
  return undefined;
}

function truthText(event: TruthEvent): string {
  const slide = `${Math.round(event.slideM * 1000)} mm`;
  if (event.kind === "drop") return `the cup falls out of the hand (attempt ${event.attempt}, slid ${slide})`;
  if (event.kind === "slip") return `the cup slides ${slide} in the hand and is caught (attempt ${event.attempt})`;
  return `the fingers close on nothing (attempt ${event.attempt})`;
}

function kilobytes(bytes: number): string {
  return `${Math.max(1, Math.round(bytes / 1000))} kB`;
}

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}
