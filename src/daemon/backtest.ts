/**
 * What the rules would have caught in a recording: recording → fields → trigger → episodes, without a ring.
 *
 * The same trigger and the same episode machine as live, at the recording's own log time. An episode that is open
 * when the recording ends is told as far as it is known: its outcome stays `unknown` unless something decided it.
 */
import { idleMachine, type MachineState, openEpisodeOf, stepMachine } from "../capture/episode-machine.ts";
import { ChannelReader } from "../decode/channel-reader.ts";
import { ChannelRegistry } from "../decode/channel-registry.ts";
import type { Channel } from "../model/channel.ts";
import type { Episode } from "../model/episode.ts";
import type { RuleEvent } from "../model/rule-event.ts";
import type { RecordedChannel, Recording } from "../replay/recording.ts";
import { assert } from "../std/assert.ts";
import type { Matcher } from "../std/glob.ts";
import { formatTime } from "../std/time-text.ts";
import type { Log } from "../telemetry/log.ts";
import type { Rule } from "../trigger/rule.ts";
import { Trigger } from "../trigger/trigger.ts";

export type BacktestOptions = {
  readonly rules: readonly Rule[];
  /** Topics that the rules must not see. */
  readonly isExcluded: Matcher;
  readonly log: Log;
};

type Firing = Extract<RuleEvent, { kind: "firing" }>;

export type RecordingVerdict = {
  readonly path: string;
  readonly startNs: bigint;
  readonly endNs: bigint;
  readonly messages: number;
  readonly bytes: number;
  /** Messages whose definition nobody understands, by topic. */
  readonly undecodable: ReadonlyMap<string, number>;
  readonly firings: readonly Firing[];
  readonly events: readonly RuleEvent[];
  readonly episodes: readonly JudgedEpisode[];
};

type JudgedEpisode = { readonly episode: Episode; readonly messages: number; readonly bytes: number };

/** Runs one recording through the rules. Throws the recording's `Fault` where it is damaged. */
export async function backtestRecording(recording: Recording, options: BacktestOptions): Promise<RecordingVerdict> {
  const run = new Run(options);
  const channels = recording.channels.map((channel) => run.open(channel));
  for await (const message of recording.messages()) {
    const channel = channels[message.channelIndex];
    assert(channel !== undefined, "a recorded message names a channel of its recording");
    run.take(channel, message.bytes, message.logTimeNs);
  }
  return run.finish(recording.path);
}

class Run {
  readonly #options: BacktestOptions;
  readonly #reader = new ChannelReader();
  readonly #registry = ChannelRegistry.open([]);
  readonly #trigger: Trigger;
  readonly #undecodable = new Map<string, number>();
  readonly #size = new SizeByTime();
  readonly #events: RuleEvent[] = [];
  readonly #episodes: Episode[] = [];
  #machine: MachineState = idleMachine;
  #startNs: bigint | undefined;
  #nowNs = 0n;

  constructor(options: BacktestOptions) {
    this.#options = options;
    this.#trigger = Trigger.open(options.rules, {
      fields: this.#reader.fieldAccess,
      log: options.log,
      onEvent: (event) => this.#onEvent(event),
    });
  }

  open(recorded: RecordedChannel): Channel {
    const isRos1 = recorded.encoding === "ros1";
    const text = recorded.schemaText ?? "";
    const encoding = text === "" ? "" : isRos1 ? "ros1msg" : "ros2msg";
    const channel = this.#registry.declare({
      topic: recorded.topic,
      schema: { name: recorded.schemaName, encoding, text },
      messageEncoding: recorded.encoding,
      className: "light",
      isLocal: false,
      isLatched: recorded.isLatched,
    });
    if ("problem" in this.#reader.parse(channel.schema)) this.#undecodable.set(channel.topic, 0);
    if (!this.#options.isExcluded(channel.topic)) this.#trigger.addChannel(channel);
    return channel;
  }

  take(channel: Channel, bytes: Uint8Array, logTimeNs: bigint): void {
    this.#startNs ??= logTimeNs;
    this.#nowNs = logTimeNs;
    this.#size.add(logTimeNs, bytes.length);
    const undecodable = this.#undecodable.get(channel.topic);
    if (undecodable !== undefined) this.#undecodable.set(channel.topic, undecodable + 1);
    if (!this.#options.isExcluded(channel.topic)) this.#trigger.onMessage(channel, bytes, logTimeNs);
  }

  finish(path: string): RecordingVerdict {
    this.#step({ kind: "tick", atNs: this.#nowNs });
    const open = openEpisodeOf(this.#machine);
    const startNs = this.#startNs ?? 0n;
    const clipped = [...this.#episodes, ...(open === undefined ? [] : [open])].map((episode) =>
      clip(episode, startNs, this.#nowNs),
    );
    return {
      path,
      startNs,
      endNs: this.#nowNs,
      ...this.#size.between(startNs, this.#nowNs),
      undecodable: this.#undecodable,
      firings: this.#events.filter((event) => event.kind === "firing"),
      events: this.#events,
      episodes: clipped.map((episode) => ({ episode, ...this.#size.between(episode.startNs, episode.endNs) })),
    };
  }

  #onEvent(event: RuleEvent): void {
    this.#events.push(event);
    this.#step(event);
  }

  #step(input: Parameters<typeof stepMachine>[1]): void {
    const { state, commands } = stepMachine(this.#machine, input, {
      policyOf: (name) => {
        const policy = this.#trigger.policies().find(({ rule }) => rule === name);
        assert(policy !== undefined, `rule ${name} has a policy`);
        return policy;
      },
      newId: () => String(this.#episodes.length + 1),
      bootId: "",
    });
    this.#machine = state;
    for (const command of commands) if (command.kind === "closed") this.#episodes.push(command.episode);
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

/** How many messages and bytes lie in a stretch of time. */
class SizeByTime {
  readonly #times: bigint[] = [];
  /** Bytes of all messages up to and with this one. */
  readonly #bytes: number[] = [];

  add(timeNs: bigint, bytes: number): void {
    this.#times.push(timeNs);
    this.#bytes.push((this.#bytes.at(-1) ?? 0) + bytes);
  }

  between(startNs: bigint, endNs: bigint): { readonly messages: number; readonly bytes: number } {
    const [from, to] = [this.#countBefore(startNs), this.#countBefore(endNs + 1n)];
    return { messages: to - from, bytes: (this.#bytes[to - 1] ?? 0) - (this.#bytes[from - 1] ?? 0) };
  }

  #countBefore(timeNs: bigint): number {
    let [low, high] = [0, this.#times.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#times[middle] ?? 0n) < timeNs) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** The answer of `lode backtest --json`. */
export function backtestToWire(verdicts: readonly RecordingVerdict[]): Record<string, unknown> {
  const seconds = verdicts.reduce((sum, { startNs, endNs }) => sum + secondsBetween(startNs, endNs), 0);
  const seen = verdicts.reduce((sum, { bytes }) => sum + bytes, 0);
  const kept = verdicts.flatMap(({ episodes }) => episodes).reduce((sum, { bytes }) => sum + bytes, 0);
  const firings = verdicts.reduce((sum, verdict) => sum + verdict.firings.length, 0);
  const per = (amount: number, unitS: number): number => (seconds > 0 ? Math.round((amount * unitS) / seconds) : 0);
  return {
    recordings: verdicts.map(verdictToWire),
    totals: {
      duration_s: rounded(seconds),
      bytes_seen: seen,
      bytes_kept: kept,
      bytes_kept_per_day: per(kept, 86_400),
      firings_per_hour: per(firings, 3600),
    },
  };
}

function verdictToWire(verdict: RecordingVerdict): Record<string, unknown> {
  const at = (ns: bigint): number => rounded(secondsBetween(verdict.startNs, ns));
  return {
    path: verdict.path,
    start_time: formatTime(verdict.startNs),
    duration_s: at(verdict.endNs),
    messages: verdict.messages,
    bytes: verdict.bytes,
    undecodable: Object.fromEntries(verdict.undecodable),
    firings: verdict.firings.map(({ rule, detector, topic, atNs, values }) => ({
      rule,
      ...(detector === undefined ? {} : { detector }),
      topic,
      at_s: at(atNs),
      values,
    })),
    episodes: verdict.episodes.map(({ episode, messages, bytes }) => ({
      rule: episode.rule,
      kind: episode.kind,
      start_s: at(episode.startNs),
      end_s: at(episode.endNs),
      outcome: episode.outcome,
      attempts: episode.attempts,
      firings: episode.firings.map((firing) =>
        verdict.firings.findIndex(
          ({ rule, atNs, topic }) => rule === firing.rule && atNs === firing.atNs && topic === firing.topic,
        ),
      ),
      segments: episode.segments.map(({ kind, attempt, startNs, endNs }) => ({
        kind,
        ...(attempt === undefined ? {} : { attempt }),
        start_s: at(startNs),
        end_s: at(endNs),
      })),
      messages,
      bytes,
    })),
  };
}

function secondsBetween(startNs: bigint, endNs: bigint): number {
  return Number(endNs - startNs) / 1e9;
}

function rounded(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}
