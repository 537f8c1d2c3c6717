/**
 * What the rules would have caught: recorded messages → fields → trigger → episodes, without a ring.
 *
 * Promises: the same trigger and the same episode machine as live, fed with the same messages at their own log time, so
 * that the daemon and a back-test of what it recorded agree exactly; memory for the chunks of the file that overlap and
 * 14 bytes a message of what an episode may still reach back to, however long the recording. Several rule sets are judged in one
 * pass. An episode that is open when the recording ends is told as far as it is known: its outcome stays `unknown`
 * unless something decided it.
 */
import { SETTLE_NS } from "../capture/capture.ts";
import { idleMachine, type MachineState, openEpisodeOf, stepMachine } from "../capture/episode-machine.ts";
import { ChannelReader } from "../decode/channel-reader.ts";
import type { Channel } from "../model/channel.ts";
import type { Episode } from "../model/episode.ts";
import type { CapturePolicy, RuleEvent } from "../model/rule-event.ts";
import type { RecordedMessage, Recording } from "../replay/recording.ts";
import { assert } from "../std/assert.ts";
import { compileGlobs, type Matcher } from "../std/glob.ts";
import { earliest, nsOfMs } from "../std/nanoseconds.ts";
import type { Log } from "../telemetry/log.ts";
import type { Rule } from "../trigger/rule.ts";
import type { RuleLimits } from "../trigger/rule-budget.ts";
import { type RuleStatus, Trigger } from "../trigger/trigger.ts";
import { type BacktestSource, sourceOfRecording } from "./backtest-source.ts";
import { type KeptSize, RecentSizes } from "./recent-sizes.ts";

export type BacktestOptions = {
  readonly rules: readonly Rule[];
  /** Topics that the rules must not see. */
  readonly isExcluded: Matcher;
  /** Of firings; what a rule costs is measured on the robot only. */
  readonly limits?: RuleLimits;
  readonly log: Log;
};

export type Firing = Extract<RuleEvent, { kind: "firing" }>;

export type RecordingVerdict = {
  readonly path: string;
  /** Of a ring's part. */
  readonly bootId: string | undefined;
  readonly startNs: bigint;
  readonly endNs: bigint;
  readonly messages: number;
  /** Of all messages, unpacked. */
  readonly bytes: number;
  /** Messages whose definition nobody understands, by topic. */
  readonly undecodable: ReadonlyMap<string, number>;
  readonly firings: readonly Firing[];
  readonly events: readonly RuleEvent[];
  readonly episodes: readonly JudgedEpisode[];
  /** Firings that an open episode ignored, as its rule says. */
  readonly ignoredFirings: number;
  readonly policies: ReadonlyMap<string, CapturePolicy>;
  /** What each rule was bound to, or why it was not. */
  readonly rules: readonly RuleStatus[];
  /** What of the recording could not be read. */
  readonly problems: readonly string[];
};

export type JudgedEpisode = KeptSize & { readonly episode: Episode };

/** Runs one recording through the rules. Throws the recording's `Fault` where it is damaged. */
export async function backtestRecording(recording: Recording, options: BacktestOptions): Promise<RecordingVerdict> {
  const [verdict] = await backtest(sourceOfRecording(recording), [options]);
  assert(verdict !== undefined, "one rule set gives one verdict");
  return verdict;
}

/** One verdict a rule set. `onProgress` hears the log time that is reached. Throws the source's `Fault`. */
export async function backtest(
  source: BacktestSource,
  ruleSets: readonly BacktestOptions[],
  onProgress: (atNs: bigint) => void = () => {},
): Promise<RecordingVerdict[]> {
  const runs = ruleSets.map((options) => new Run(source, options));
  for await (const batch of source.batches()) {
    for (const run of runs) run.takeAll(batch);
    const last = batch.at(-1);
    if (last !== undefined) onProgress(last.logTimeNs);
  }
  return runs.map((run) => run.finish());
}

/** A channel of the source, from its first message on. */
type Lane = {
  readonly channel: Channel;
  readonly isSeen: boolean;
  readonly isOnDemand: boolean;
  readonly isUndecodable: boolean;
};

/** How often deadlines of an open episode are looked at; they fall due at their own instants. */
const TICK_NS = 100_000_000n;
const NEVER_NS = 2n ** 63n;

class Run {
  readonly #source: BacktestSource;
  readonly #options: BacktestOptions;
  readonly #reader = new ChannelReader();
  readonly #trigger: Trigger;
  readonly #policies: ReadonlyMap<string, CapturePolicy>;
  readonly #preRollNs: bigint;
  readonly #lanes: (Lane | undefined)[] = [];
  readonly #undecodable = new Map<string, number>();
  readonly #sizes = new RecentSizes(() => this.#keepFromNs());
  readonly #events: RuleEvent[] = [];
  readonly #episodes: JudgedEpisode[] = [];
  /** Their windows have not passed yet. */
  #closed: Episode[] = [];
  #opened = 0;
  #machine: MachineState = idleMachine;
  #isOnDemandWanted: Matcher = () => false;
  #ignoredFirings = 0;
  #reconnections = 0;
  #tickNs = 0n;
  #startNs: bigint | undefined;
  #nowNs = 0n;
  #messages = 0;
  #bytes = 0;

  constructor(source: BacktestSource, options: BacktestOptions) {
    this.#source = source;
    this.#options = options;
    this.#trigger = Trigger.open(options.rules, {
      fields: this.#reader.fieldAccess,
      log: options.log,
      ...(options.limits === undefined ? {} : { limits: options.limits }),
      onEvent: (event) => this.#onEvent(event),
    });
    this.#policies = new Map(this.#trigger.policies().map((policy) => [policy.rule, policy]));
    this.#preRollNs = nsOfMs(Math.max(0, ...this.#policies.values().map(({ preRollMs }) => preRollMs)));
  }

  takeAll(batch: readonly RecordedMessage[]): void {
    for (const message of batch) this.#take(message);
  }

  finish(): RecordingVerdict {
    const startNs = this.#startNs ?? 0n;
    this.#step({ kind: "tick", atNs: this.#nowNs });
    const open = openEpisodeOf(this.#machine);
    const rest = open === undefined ? this.#closed : [...this.#closed, open];
    for (const episode of rest) this.#judge(episode);
    return {
      path: this.#source.path,
      bootId: this.#source.bootId,
      startNs,
      endNs: this.#nowNs,
      messages: this.#messages,
      bytes: this.#bytes,
      undecodable: this.#undecodable,
      firings: this.#events.filter((event) => event.kind === "firing"),
      events: this.#events,
      episodes: this.#episodes,
      ignoredFirings: this.#ignoredFirings,
      policies: this.#policies,
      rules: this.#trigger.status(),
      problems: this.#source.problems,
    };
  }

  #take({ channelIndex, bytes, logTimeNs }: RecordedMessage): void {
    const lane = this.#lanes[channelIndex] ?? this.#open(channelIndex);
    this.#startNs ??= logTimeNs;
    this.#nowNs = logTimeNs;
    this.#messages += 1;
    this.#bytes += bytes.length;
    if (lane.isUndecodable) {
      const { topic } = lane.channel;
      this.#undecodable.set(topic, (this.#undecodable.get(topic) ?? 0) + 1);
    }
    if (logTimeNs >= this.#tickNs) this.#tick(logTimeNs);
    // What is on demand is not subscribed otherwise.
    if (lane.isOnDemand && !this.#isOnDemandWanted(lane.channel.topic)) return;
    this.#sizes.add(logTimeNs, channelIndex, bytes.length);
    if (lane.isSeen) this.#trigger.onMessage(lane.channel, bytes, logTimeNs);
  }

  /** As live: a channel comes into being with its first message, and rules take the first that suits them. */
  #open(channelIndex: number): Lane {
    const source = this.#source.channels[channelIndex];
    assert(source !== undefined, "a recorded message names a channel of its recording");
    const { channel, isRecorded, isOnDemand } = source;
    const isSeen = isRecorded && !this.#options.isExcluded(channel.topic);
    const isUndecodable = "problem" in this.#reader.parse(channel.schema);
    const lane = { channel, isSeen, isOnDemand, isUndecodable };
    this.#lanes[channelIndex] = lane;
    if (isSeen) this.#trigger.addChannel(channel);
    return lane;
  }

  #tick(logTimeNs: bigint): void {
    const { reconnectedNs } = this.#source;
    for (; (reconnectedNs[this.#reconnections] ?? NEVER_NS) <= logTimeNs; this.#reconnections += 1)
      this.#trigger.onConnection(true);
    this.#tickNs = earliest(logTimeNs + TICK_NS, reconnectedNs[this.#reconnections] ?? NEVER_NS);
    const settledNs = logTimeNs - SETTLE_NS;
    if (this.#machine.open !== undefined) this.#step({ kind: "tick", atNs: settledNs });
    const passed = this.#closed.filter(({ endNs }) => endNs < settledNs);
    for (const episode of passed) this.#judge(episode);
    if (passed.length > 0) this.#closed = this.#closed.filter(({ endNs }) => endNs >= settledNs);
  }

  #onEvent(event: RuleEvent): void {
    this.#events.push(event);
    this.#step(event);
  }

  #step(input: Parameters<typeof stepMachine>[1]): void {
    const { state, commands } = stepMachine(this.#machine, input, {
      policyOf: (name) => {
        const policy = this.#policies.get(name);
        assert(policy !== undefined, `rule ${name} has a policy`);
        return policy;
      },
      newId: () => this.#nextId(),
      bootId: this.#source.bootId ?? "",
    });
    this.#machine = state;
    for (const command of commands) {
      if (command.kind === "closed") this.#closed.push(command.episode);
      else if (command.kind === "on_demand") this.#isOnDemandWanted = compileGlobs(command.globs);
      else if (command.kind === "ignored") this.#ignoredFirings += 1;
    }
  }

  #nextId(): string {
    this.#opened += 1;
    return String(this.#opened);
  }

  /** Counts what it would keep, as far as the recording reaches. */
  #judge(episode: Episode): void {
    const clipped = clip(episode, this.#startNs ?? 0n, this.#nowNs);
    const isKept = compileGlobs(episode.topics);
    const [wanted, latched] = [new Set<number>(), new Set<number>()];
    for (const [index, lane] of this.#lanes.entries()) {
      const source = this.#source.channels[index];
      if (lane === undefined || source?.isRecorded !== true || lane.channel.isLocal) continue;
      if (lane.channel.isLatched) latched.add(index);
      if (lane.channel.isLatched || isKept(lane.channel.topic)) wanted.add(index);
    }
    const size = this.#sizes.sum(clipped.startNs, clipped.endNs, wanted, latched);
    this.#episodes.push({ episode: clipped, ...size });
  }

  /** The longest pre-roll may be asked for at any moment. */
  #keepFromNs(): bigint {
    const open = openEpisodeOf(this.#machine);
    const unfinished = open === undefined ? this.#closed : [...this.#closed, open];
    return unfinished.map(({ startNs }) => startNs).reduce(earliest, this.#nowNs - this.#preRollNs - SETTLE_NS);
  }
}

/** An episode's window as far as the recording reaches. */
function clip(episode: Episode, startNs: bigint, endNs: bigint): Episode {
  const within = (ns: bigint): bigint => (ns < startNs ? startNs : ns > endNs ? endNs : ns);
  const segments = episode.segments
    .map((segment) => ({ ...segment, startNs: within(segment.startNs), endNs: within(segment.endNs) }))
    .filter((segment) => segment.startNs < segment.endNs);
  return { ...episode, startNs: within(episode.startNs), endNs: within(episode.endNs), segments };
}
