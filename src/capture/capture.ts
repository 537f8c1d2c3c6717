/**
 * Keeps the episodes: what the machine decides becomes rows, holds and words to the ring.
 *
 * Order of writes: a firing's episode row and hold row commit in one transaction, then the ring holds, promotes and
 * goes to full rate; the hold's row goes in the transaction that says `batched`, then the ring lets go. A crash in
 * between leaves a row whose hold is taken again at opening. An episode that was open is sealed as interrupted, its
 * end being the last instant the ring has.
 */
import type { Episode } from "../model/episode.ts";
import { type Operation, TASK_TYPE_LABEL } from "../model/operation.ts";
import type { CapturePolicy, EpisodeKind, RuleEvent } from "../model/rule-event.ts";
import { assert } from "../std/assert.ts";
import { failpoint } from "../std/failpoint.ts";
import { describeError } from "../std/fault.ts";
import { earliest, latest } from "../std/nanoseconds.ts";
import type { Db } from "../store/database.ts";
import type { Log } from "../telemetry/log.ts";
import {
  idleMachine,
  type MachineCommand,
  type MachineContext,
  type MachineInput,
  type MachineState,
  type ManualCapture,
  machineAfter,
  openEpisodeOf,
  stepMachine,
} from "./episode-machine.ts";
import { type EpisodeEdit, EpisodeTable, type StoredEpisode } from "./episode-table.ts";

/** What capture asks of the ring. */
interface HoldingRing {
  /** A range of this boot, unless told. */
  hold(id: string, startNs: bigint, endNs: bigint, bootId?: string): void;
  release(id: string): void;
  promote(startNs: bigint, endNs: bigint, focusNs: bigint): void;
  setFullRate(isOn: boolean): void;
  /** How far the range has got on its way to the disk, with every word about what is missing from it. */
  durabilityOf(startNs: bigint, endNs: bigint, bootId?: string): "durable" | "waiting" | "refused" | "ring_full";
  /** What is still on its way is dropped, and counted. */
  giveUp(startNs: bigint, endNs: bigint): void;
}

export type CaptureDeps = {
  readonly ring: HoldingRing;
  readonly log: Log;
  readonly bootId: string;
  readonly newId: (atNs: bigint) => string;
  /**
   * log_time of the last message the ring has on disk of a boot: where an interrupted episode ends. undefined: nobody
   * knows, and it ends where it was expected to.
   */
  readonly lastStoredNs: (bootId: string) => bigint | undefined;
  readonly onDemand: (globs: readonly string[]) => void;
  /** What an episode that opens now is part of, and the labels that the robot gives it. */
  readonly surroundings?: () => Surroundings;
  /**
   * In the transaction that seals an episode, once; and in the one in which a person changes the outcome of a sealed
   * one, as it was (`sign` −1) and as it is.
   */
  readonly count?: (episode: Episode, kindOf: (rule: string) => EpisodeKind | undefined, sign: 1 | -1) => void;
  /** The window's chunks are durable, or known to be lost: its batch files can be written. Again after a restart. */
  readonly onSealed: (episode: Episode) => void;
};

export type Surroundings = { readonly operation: Operation; readonly labels: Readonly<Record<string, string>> };

/**
 * The machine's clock runs this far behind: events cross a thread and chunks close after up to 0.7 s, and an
 * episode that closed before its last event came would end differently live and in a back-test.
 */
export const SETTLE_NS = 1_500_000_000n;

/**
 * How long a sealed window waits for what is still owed of it: for a disk that refuses, a minute; for a ring in which
 * nothing may go, a few seconds, since only this episode's own files, written without the rest, may make room there,
 * and newer data is shed meanwhile.
 */
const REFUSED_NS_MAX = { refused: 60_000_000_000n, ring_full: 5_000_000_000n };

/** An episode's last word is in its last command; more than this only repeats it. */
const UNRECORDED_MAX = 1000;

/** Of earlier runs of this boot: enough to know the same failure again. */
const PAST_EPISODES_MAX = 100;

export class Capture {
  readonly #db: Db;
  readonly #table: EpisodeTable;
  readonly #deps: CaptureDeps;
  readonly #context: MachineContext;
  readonly #policies = new Map<string, CapturePolicy>();
  #state: MachineState = idleMachine;
  /** Sealed, but not all of the window has had time to arrive and become durable. */
  #settling: Episode[] = [];
  /** Of those, since when the disk refuses. */
  readonly #refusedSinceNs = new Map<string, bigint>();
  /** Decided, but not yet in the database. */
  #unrecorded: MachineCommand[] = [];
  #isJournalRefusing = false;
  #ignoredFirings = 0;
  /** Of the open episode, as they were when it opened. */
  #surroundings: Surroundings | undefined;

  private constructor(db: Db, deps: CaptureDeps) {
    this.#db = db;
    this.#table = new EpisodeTable(db);
    this.#deps = deps;
    this.#context = {
      policyOf: (rule) => this.#policyOf(rule),
      newId: deps.newId,
      bootId: deps.bootId,
    };
  }

  static open(db: Db, policies: readonly CapturePolicy[], deps: CaptureDeps): Capture {
    const capture = new Capture(db, deps);
    capture.setPolicies(policies);
    capture.#reopen();
    return capture;
  }

  /** New rules are in force from the next firing on; an event of a rule that has gone still finds its policy. */
  setPolicies(policies: readonly CapturePolicy[]): void {
    for (const policy of policies) this.#policies.set(policy.rule, policy);
  }

  /** In the order of log_time. The episode and its hold are durable when it returns. */
  onEvent(event: RuleEvent): void {
    this.#step(event);
  }

  /** A person's firing. Returns the id of the episode it opened or joined. */
  capture(request: Omit<ManualCapture, "kind">): string {
    this.#step({ kind: "manual", ...request });
    const open = this.openEpisode();
    assert(open !== undefined, "a person's firing leaves an episode open");
    return open.id;
  }

  /**
   * Lets deadlines fall due; `nowNs` is the present in log_time, and every chunk and event until `arrivedNs` has come:
   * a starved ingest thread may be further behind than usual. To be called a few times a second.
   */
  tick(nowNs: bigint, arrivedNs = nowNs): void {
    const settledNs = earliest(nowNs - SETTLE_NS, arrivedNs);
    this.#step({ kind: "tick", atNs: settledNs });
    if (this.#unrecorded.length > 0) return; // its batches must not come before its row
    const due = this.#settling.filter((episode) => this.#isPast(episode, settledNs) && this.#isWhole(episode, nowNs));
    this.#settling = this.#settling.filter((episode) => !due.includes(episode));
    for (const episode of due) this.#deps.onSealed(this.#table.edited(episode));
  }

  openEpisode(): Episode | undefined {
    const open = openEpisodeOf(this.#state);
    return open === undefined ? undefined : surround(open, this.#surroundings);
  }

  get ignoredFirings(): number {
    return this.#ignoredFirings;
  }

  /**
   * Its batch files are durable: their rows come and the hold goes in one transaction, then the ring lets go. Again
   * for the same episode, it changes nothing.
   */
  markBatched(episode: Episode, addBatches: () => void): void {
    this.#recordAll();
    this.#db
      .transaction(() => {
        addBatches();
        this.#table.write(episode, "batched");
        failpoint("capture.batching");
        this.#table.releaseHold(episode.id);
      })
      .immediate();
    failpoint("capture.batched");
    this.#deps.ring.release(episode.id);
  }

  /** A person's word; the outcome of an open episode is decided by it. */
  annotate(id: string, edit: EpisodeEdit, author: string, atNs: bigint): StoredEpisode {
    const { episode, state } = this.#table.find(id);
    this.#db
      .transaction(() => {
        this.#table.edit(episode.id, edit, author, atNs);
        if (state === "open") return;
        this.#count(episode, -1);
        this.#count(this.#table.find(episode.id).episode, 1);
      })
      .immediate();
    if (edit.outcome !== undefined && this.openEpisode()?.id === episode.id)
      this.#step({ kind: "outcome", atNs, outcome: edit.outcome });
    return this.#table.find(episode.id);
  }

  #step(input: MachineInput): void {
    const { state, commands: decided } = stepMachine(this.#state, input, this.#context);
    this.#state = state;
    const commands = decided.map((command) => this.#surrounded(command));
    this.#unrecorded.push(...commands);
    // A topic that is not subscribed yet is lost for every millisecond of the commit.
    for (const command of commands) if (command.kind === "on_demand") this.#deps.onDemand(command.globs);
    this.#recordAll();
    for (const command of commands) this.#enact(command);
  }

  #surrounded(command: MachineCommand): MachineCommand {
    if (command.kind === "opened") this.#surroundings = this.#deps.surroundings?.();
    if (command.kind !== "opened" && command.kind !== "changed" && command.kind !== "closed") return command;
    return { ...command, episode: surround(command.episode, this.#surroundings) };
  }

  #count(episode: Episode, sign: 1 | -1): void {
    this.#deps.count?.(episode, (rule) => this.#policies.get(rule)?.kind, sign);
  }

  /** On a full disk the rows are owed: the machine and the ring's holds go on, and every step tries again. */
  #recordAll(): void {
    if (this.#unrecorded.length === 0) return;
    try {
      this.#db.transaction(() => this.#unrecorded.forEach((command) => void this.#record(command))).immediate();
      failpoint("capture.recorded");
      this.#unrecorded = [];
      this.#isJournalRefusing = false;
    } catch (error) {
      this.#unrecorded = withoutSuperseded(this.#unrecorded).slice(-UNRECORDED_MAX);
      if (this.#isJournalRefusing) return; // said once: every tick tries again
      this.#isJournalRefusing = true;
      this.#deps.log.error("An episode's row could not be written; it is tried again.", {
        reason: describeError(error),
      });
    }
  }

  /** The durable half of a command. */
  #record(command: MachineCommand): void {
    if (command.kind === "opened" || command.kind === "changed") this.#table.write(command.episode, "open");
    failpoint("capture.recording");
    if (command.kind === "hold") this.#table.hold(command.id, command.startNs, command.endNs);
    if (command.kind !== "closed") return;
    this.#table.write(command.episode, "sealed");
    failpoint("capture.sealing");
    this.#table.hold(command.episode.id, command.episode.startNs, command.episode.endNs);
    this.#count(command.episode, 1);
  }

  /** The other half: words to the ring, the source and the log. */
  #enact(command: MachineCommand): void {
    const { ring, log } = this.#deps;
    if (command.kind === "opened") {
      const { id, rule, kind } = command.episode;
      ring.setFullRate(true);
      log.info("An episode opened.", { episode_id: id, rule, episode_kind: kind });
    } else if (command.kind === "hold") {
      ring.hold(command.id, command.startNs, command.endNs);
      ring.promote(command.startNs, command.endNs, this.#focusNs());
    } else if (command.kind === "closed") this.#seal(command.episode);
    else if (command.kind === "ignored") this.#ignoredFirings += 1;
  }

  #seal(episode: Episode): void {
    const { ring, log } = this.#deps;
    const { id, rule, outcome, attempts, startNs, endNs } = episode;
    ring.hold(id, startNs, endNs);
    // No promotion: the hold that began with the episode has sent everything since straight to the disk.
    ring.setFullRate(false); // after a split the next one's opening, which follows, turns it on again
    this.#settling.push(episode);
    log.info("An episode was sealed.", { episode_id: id, rule, outcome, attempts });
  }

  /** Its window is behind us by enough; that of an earlier boot is, whatever its clock said. */
  #isPast({ bootId, endNs }: Episode, settledNs: bigint): boolean {
    return bootId !== this.#deps.bootId || endNs <= settledNs;
  }

  /** Its files are made from what is durable: nothing of the window is owed any more, or the ledger says so. */
  #isWhole({ id, bootId, startNs, endNs }: Episode, nowNs: bigint): boolean {
    const { ring, log } = this.#deps;
    const durability = ring.durabilityOf(startNs, endNs, bootId);
    if (durability === "durable") this.#refusedSinceNs.delete(id);
    if (durability === "durable" || durability === "waiting") return durability === "durable";
    const sinceNs = this.#refusedSinceNs.get(id) ?? nowNs;
    this.#refusedSinceNs.set(id, sinceNs);
    if (nowNs - sinceNs < REFUSED_NS_MAX[durability]) return false;
    this.#refusedSinceNs.delete(id);
    log.error("The disk did not take all of an episode; what it owes is dropped.", { episode_id: id });
    ring.giveUp(startNs, endNs);
    return ring.durabilityOf(startNs, endNs) === "durable";
  }

  /**
   * After a restart: what was open is sealed as far as it got; what waits for its batches is held again; and a fault
   * that lasts, and so fires again, is linked to the episode that was interrupted.
   */
  #reopen(): void {
    for (const { state, episode } of this.#table.unfinished()) {
      const sealed =
        state === "open" ? interrupt(episode, this.#deps.lastStoredNs(episode.bootId) ?? episode.endNs) : episode;
      if (state === "open") this.#db.transaction(() => this.#record({ kind: "closed", episode: sealed })).immediate();
      this.#deps.ring.hold(sealed.id, sealed.startNs, sealed.endNs, sealed.bootId);
      this.#settling.push(sealed);
      if (state === "open")
        this.#deps.log.warn("An episode was interrupted and is sealed as far as it got.", { episode_id: sealed.id });
    }
    const past = this.#table.list(PAST_EPISODES_MAX).map(({ episode }) => episode);
    this.#state = machineAfter(past.filter(({ bootId }) => bootId === this.#deps.bootId).toReversed());
  }

  #focusNs(): bigint {
    const open = this.openEpisode();
    return open === undefined ? 0n : focusOf(open);
  }

  #policyOf(rule: string): CapturePolicy {
    const policy = this.#policies.get(rule);
    assert(policy !== undefined, `rule "${rule}" fired without a policy`);
    return policy;
  }
}

/** The rules' labels, and what the episode's own say of the task, come before what the robot says. */
function surround(episode: Episode, surroundings: Surroundings | undefined): Episode {
  if (surroundings === undefined) return episode;
  const labels = { ...surroundings.labels, ...episode.labels };
  const taskType = labels[TASK_TYPE_LABEL] ?? surroundings.operation.taskType;
  return { ...episode, labels, operation: { ...surroundings.operation, taskType } };
}

/** Of an episode's `changed` only the last says something. */
function withoutSuperseded(commands: readonly MachineCommand[]): MachineCommand[] {
  const last = new Map(commands.map((command) => [command.kind === "changed" ? command.episode.id : "", command]));
  return commands.filter((command) => command.kind !== "changed" || last.get(command.episode.id) === command);
}

/** The instant around which frames matter most. */
function focusOf(episode: Episode): bigint {
  return episode.firings.at(-1)?.atNs ?? episode.endNs;
}

/** The episode as far as it is known to reach: never before its last firing, never after its expected end. */
function interrupt(episode: Episode, lastStoredNs: bigint): Episode {
  const atLeastNs = episode.firings.map(({ atNs }) => atNs).reduce(latest, episode.startNs);
  const endNs = latest(earliest(lastStoredNs, episode.endNs), atLeastNs);
  const segments = episode.segments
    .filter((segment) => segment.startNs < endNs)
    .map((segment) => (segment.endNs > endNs ? { ...segment, endNs } : segment));
  const isToTell = episode.outcome === "unknown" && (episode.kind === "failure" || episode.kind === "span");
  const word = { kind: "interrupted", outcome: "unknown", rule: episode.rule, atNs: endNs, values: {} } as const;
  const evidence = isToTell ? [...episode.evidence, word] : episode.evidence;
  return { ...episode, endNs, segments, evidence, isInterrupted: true };
}
