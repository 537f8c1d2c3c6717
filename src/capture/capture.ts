/**
 * Keeps the episodes: what the machine decides becomes rows, holds and words to the ring.
 *
 * Owns the tables `episode`, `hold` and `episode_edit` of journal.db. States of a row: `open` → `sealed` (waits for
 * its batch files) → `batched` (the files are durable and the hold is gone).
 *
 * Order of writes: a firing's episode row and hold row commit in one transaction, then the ring holds, promotes and
 * goes to full rate; the hold's row goes in the transaction that says `batched`, then the ring lets go. A crash in
 * between leaves a row whose hold is taken again at opening. An episode that was open is sealed as interrupted, its
 * end being the last instant the ring has.
 */
import type { Episode, Outcome } from "../model/episode.ts";
import type { CapturePolicy, RuleEvent } from "../model/rule-event.ts";
import { assert } from "../std/assert.ts";
import { describeError, Fault } from "../std/fault.ts";
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
  openEpisodeOf,
  stepMachine,
} from "./episode-machine.ts";

/** What capture asks of the ring. */
interface HoldingRing {
  hold(id: string, startNs: bigint, endNs: bigint): void;
  release(id: string): void;
  promote(startNs: bigint, endNs: bigint, focusNs: bigint): void;
  setFullRate(isOn: boolean): void;
}

export type CaptureDeps = {
  readonly ring: HoldingRing;
  readonly log: Log;
  readonly bootId: string;
  readonly newId: (atNs: bigint) => string;
  /** log_time of the last message the ring has on disk: where an interrupted episode ends. */
  readonly lastStoredNs: bigint | undefined;
  readonly onDemand: (globs: readonly string[]) => void;
  /** The window's chunks have all had time to arrive: its batch files can be written. Comes again after a restart. */
  readonly onSealed: (episode: Episode) => void;
};

export type EpisodeState = "open" | "sealed" | "batched";
export type StoredEpisode = { readonly episode: Episode; readonly state: EpisodeState };

/** What a person may change; `undefined` leaves it. */
export type EpisodeEdit = {
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly note?: string | undefined;
  readonly outcome?: Outcome | undefined;
};

/**
 * The machine's clock runs this far behind: events cross a thread and chunks close after up to half a second, and an
 * episode that closed before its last event came would end differently live and in a back-test.
 */
const SETTLE_NS = 1_500_000_000n;

/** An episode's last word is in its last command; more than this only repeats it. */
const UNRECORDED_MAX = 1000;

export function createCaptureTables(db: Db): void {
  db.exec(`
    CREATE TABLE episode (
      id TEXT PRIMARY KEY,
      state TEXT NOT NULL CHECK (state IN ('open', 'sealed', 'batched')),
      start_ns INTEGER NOT NULL,
      end_ns INTEGER NOT NULL,
      body TEXT NOT NULL
    ) STRICT;
    CREATE INDEX episode_by_start ON episode (start_ns);
    CREATE INDEX episode_unfinished ON episode (state) WHERE state <> 'batched';
    CREATE TABLE hold (
      episode_id TEXT PRIMARY KEY REFERENCES episode (id),
      start_ns INTEGER NOT NULL,
      end_ns INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE episode_edit (
      id INTEGER PRIMARY KEY,
      episode_id TEXT NOT NULL REFERENCES episode (id),
      at_ns INTEGER NOT NULL,
      author TEXT NOT NULL,
      edit TEXT NOT NULL
    ) STRICT;
    CREATE INDEX episode_edit_by_episode ON episode_edit (episode_id);
  `);
}

export class Capture {
  readonly #db: Db;
  readonly #deps: CaptureDeps;
  readonly #context: MachineContext;
  readonly #policies = new Map<string, CapturePolicy>();
  #state: MachineState = idleMachine;
  /** Sealed, but the window's end is not long enough ago. */
  #settling: Episode[] = [];
  /** Decided, but not yet in the database. */
  #unrecorded: MachineCommand[] = [];
  #ignoredFirings = 0;

  private constructor(db: Db, deps: CaptureDeps) {
    this.#db = db;
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

  /** Lets deadlines fall due; `nowNs` is the present in log_time. To be called a few times a second. */
  tick(nowNs: bigint): void {
    this.#step({ kind: "tick", atNs: nowNs - SETTLE_NS });
    if (this.#unrecorded.length > 0) return; // its batches must not come before its row
    const due = this.#settling.filter((episode) => episode.endNs + SETTLE_NS <= nowNs);
    this.#settling = this.#settling.filter((episode) => !due.includes(episode));
    for (const episode of due) this.#deps.onSealed(this.#edited(episode));
  }

  openEpisode(): Episode | undefined {
    return openEpisodeOf(this.#state);
  }

  get ignoredFirings(): number {
    return this.#ignoredFirings;
  }

  /** Newest first. */
  episodes(limit: number): readonly StoredEpisode[] {
    const rows = this.#db.prepare("SELECT state, body FROM episode ORDER BY start_ns DESC LIMIT ?").all(limit);
    return rows.map((row) => this.#fromRow(row));
  }

  /** By id or a unique beginning of it. Throws `Fault("no_such_episode")`. */
  find(idPrefix: string): StoredEpisode {
    const sql = "SELECT state, body FROM episode WHERE substr(id, 1, length(:id)) = :id LIMIT 2";
    const rows = this.#db.prepare(sql).all({ id: idPrefix });
    if (rows.length !== 1 || idPrefix === "")
      throw new Fault(
        "no_such_episode",
        rows.length === 0 ? `No episode ${idPrefix}.` : `More than one episode starts with "${idPrefix}".`,
        "`lode episodes` lists them.",
      );
    return this.#fromRow(rows[0]);
  }

  /** Its batch files are durable: the hold goes. Again for the same episode, it changes nothing. */
  markBatched(episode: Episode): void {
    this.#recordAll();
    this.#db
      .transaction(() => {
        this.#write(episode, "batched");
        this.#db.prepare("DELETE FROM hold WHERE episode_id = ?").run(episode.id);
      })
      .immediate();
    this.#deps.ring.release(episode.id);
  }

  /** Every edit is kept with its author; what the machine recorded stays as it was. */
  annotate(id: string, edit: EpisodeEdit, author: string, atNs: bigint): StoredEpisode {
    const { episode } = this.find(id);
    this.#db
      .prepare("INSERT INTO episode_edit (episode_id, at_ns, author, edit) VALUES (?, ?, ?, ?)")
      .run(episode.id, atNs, author, JSON.stringify(edit));
    if (edit.outcome !== undefined && this.openEpisode()?.id === episode.id)
      this.#step({ kind: "outcome", atNs, outcome: edit.outcome });
    return this.find(episode.id);
  }

  #step(input: MachineInput): void {
    const { state, commands } = stepMachine(this.#state, input, this.#context);
    this.#state = state;
    this.#unrecorded.push(...commands);
    this.#recordAll();
    for (const command of commands) this.#enact(command);
  }

  /** On a full disk the rows are owed: the machine and the ring's holds go on, and every step tries again. */
  #recordAll(): void {
    if (this.#unrecorded.length === 0) return;
    try {
      this.#db.transaction(() => this.#unrecorded.forEach((command) => void this.#record(command))).immediate();
      this.#unrecorded = [];
    } catch (error) {
      this.#unrecorded = this.#unrecorded.slice(-UNRECORDED_MAX);
      this.#deps.log.error("An episode's row could not be written; it is tried again.", {
        reason: describeError(error),
      });
    }
  }

  /** The durable half of a command. */
  #record(command: MachineCommand): void {
    if (command.kind === "opened" || command.kind === "changed") this.#write(command.episode, "open");
    if (command.kind === "hold") this.#hold(command.id, command.startNs, command.endNs);
    if (command.kind !== "closed") return;
    this.#write(command.episode, "sealed");
    this.#hold(command.episode.id, command.episode.startNs, command.episode.endNs);
  }

  /** The other half: words to the ring, the source and the log. */
  #enact(command: MachineCommand): void {
    const { ring, log, onDemand } = this.#deps;
    if (command.kind === "opened") {
      const { id, rule, kind } = command.episode;
      ring.setFullRate(true);
      log.info("An episode opened.", { episode_id: id, rule, episode_kind: kind });
    } else if (command.kind === "hold") {
      ring.hold(command.id, command.startNs, command.endNs);
      ring.promote(command.startNs, command.endNs, this.#focusNs());
    } else if (command.kind === "on_demand") onDemand(command.globs);
    else if (command.kind === "closed") this.#seal(command.episode);
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

  /** After a restart: what was open is sealed as far as it got; what waits for its batches is held again. */
  #reopen(): void {
    for (const row of this.#db.prepare("SELECT state, body FROM episode WHERE state <> 'batched'").all()) {
      const { state, episode } = parseRow(row);
      const sealed = state === "open" ? interrupt(episode, this.#deps.lastStoredNs ?? episode.startNs) : episode;
      this.#record({ kind: "closed", episode: sealed });
      this.#deps.ring.hold(sealed.id, sealed.startNs, sealed.endNs);
      this.#settling.push(sealed);
      if (state === "open")
        this.#deps.log.warn("An episode was interrupted and is sealed as far as it got.", { episode_id: sealed.id });
    }
  }

  #write(episode: Episode, state: EpisodeState): void {
    this.#db
      .prepare(
        `INSERT INTO episode (id, state, start_ns, end_ns, body) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE
           SET state = excluded.state, start_ns = excluded.start_ns, end_ns = excluded.end_ns, body = excluded.body`,
      )
      .run(episode.id, state, episode.startNs, episode.endNs, formatEpisode(episode));
  }

  #hold(id: string, startNs: bigint, endNs: bigint): void {
    this.#db
      .prepare(
        `INSERT INTO hold (episode_id, start_ns, end_ns) VALUES (?, ?, ?) ON CONFLICT DO UPDATE
           SET start_ns = excluded.start_ns, end_ns = excluded.end_ns`,
      )
      .run(id, startNs, endNs);
  }

  #fromRow(row: unknown): StoredEpisode {
    const stored = parseRow(row);
    return { ...stored, episode: this.#edited(stored.episode) };
  }

  #edited(episode: Episode): Episode {
    const rows = this.#db.prepare("SELECT edit FROM episode_edit WHERE episode_id = ? ORDER BY id").all(episode.id);
    return rows.map((row) => parseEdit(textOf(row, "edit"))).reduce(applyEdit, episode);
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
  return { ...episode, endNs, segments, isInterrupted: true };
}

function applyEdit(episode: Episode, edit: EpisodeEdit): Episode {
  return {
    ...episode,
    labels: { ...episode.labels, ...edit.labels },
    note: edit.note ?? episode.note,
    outcome: edit.outcome ?? episode.outcome,
  };
}

/** Instants are decimal text in the JSON: they exceed 2^53. */
function formatEpisode(episode: Episode): string {
  return JSON.stringify(episode, (_, value) => (typeof value === "bigint" ? `${value}n` : value));
}

function parseRow(row: unknown): StoredEpisode {
  const episode: Episode = JSON.parse(textOf(row, "body"), (key, value) =>
    key.endsWith("Ns") && typeof value === "string" && /^-?\d+n$/.test(value) ? BigInt(value.slice(0, -1)) : value,
  );
  const state = textOf(row, "state");
  assert(state === "open" || state === "sealed" || state === "batched", "an episode's row has a known state");
  return { episode, state };
}

const parseEdit = (text: string): EpisodeEdit => JSON.parse(text);

function textOf(row: unknown, column: string): string {
  assert(typeof row === "object" && row !== null, "a row is an object");
  return String(Object.getOwnPropertyDescriptor(row, column)?.value);
}
