/**
 * The tables `episode`, `hold` and `episode_edit` of journal.db, over any connection: capture writes them, and who only
 * looks (an export beside a stopped daemon) reads them.
 *
 * States of a row: `open` → `sealed` (waits for its batch files) → `batched` (the files are durable, the hold is gone).
 */
import { type Episode, type Outcome, type Remark, UNSAID, UNSAID_TOPIC } from "../model/episode.ts";
import { TASK_TYPE_LABEL } from "../model/operation.ts";
import { assert } from "../std/assert.ts";
import { Fault } from "../std/fault.ts";
import type { Db } from "../store/database.ts";

export type EpisodeState = "open" | "sealed" | "batched";
export type StoredEpisode = { readonly episode: Episode; readonly state: EpisodeState };

/** What a person may change; `undefined` leaves it. */
export type EpisodeEdit = {
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly note?: string | undefined;
  readonly outcome?: Outcome | undefined;
};

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

export class EpisodeTable {
  readonly #db: Db;

  constructor(db: Db) {
    this.#db = db;
  }

  /** Newest first. */
  list(limit: number): readonly StoredEpisode[] {
    const rows = this.#db.prepare("SELECT state, body FROM episode ORDER BY rowid DESC LIMIT ?").all(limit);
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

  /** What has no batch files yet, as it was recorded. */
  unfinished(): readonly StoredEpisode[] {
    return this.#db.prepare("SELECT state, body FROM episode WHERE state <> 'batched'").all().map(parseRow);
  }

  write(episode: Episode, state: EpisodeState): void {
    this.#db
      .prepare(
        `INSERT INTO episode (id, state, start_ns, end_ns, body) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE
           SET state = excluded.state, start_ns = excluded.start_ns, end_ns = excluded.end_ns, body = excluded.body`,
      )
      .run(episode.id, state, episode.startNs, episode.endNs, formatEpisode(episode));
  }

  hold(id: string, startNs: bigint, endNs: bigint): void {
    this.#db
      .prepare(
        `INSERT INTO hold (episode_id, start_ns, end_ns) VALUES (?, ?, ?) ON CONFLICT DO UPDATE
           SET start_ns = excluded.start_ns, end_ns = excluded.end_ns`,
      )
      .run(id, startNs, endNs);
  }

  releaseHold(id: string): void {
    this.#db.prepare("DELETE FROM hold WHERE episode_id = ?").run(id);
  }

  /** Every edit is kept with its author; what the machine recorded stays as it was. */
  edit(id: string, edit: EpisodeEdit, author: string, atNs: bigint): void {
    this.#db
      .prepare("INSERT INTO episode_edit (episode_id, at_ns, author, edit) VALUES (?, ?, ?, ?)")
      .run(id, atNs, author, JSON.stringify(edit));
  }

  /** With what people changed laid over it. */
  edited(episode: Episode): Episode {
    const rows = this.#db
      .prepare("SELECT at_ns, author, edit FROM episode_edit WHERE episode_id = ? ORDER BY id")
      .safeIntegers()
      .all(episode.id);
    if (rows.length === 0) return episode;
    const remarks = rows.map(parseRemark);
    return remarks.reduce(applyRemark, { ...episode, remarks });
  }

  #fromRow(row: unknown): StoredEpisode {
    const stored = parseRow(row);
    return { ...stored, episode: this.edited(stored.episode) };
  }
}

function applyRemark(episode: Episode, remark: Remark): Episode {
  const { labels, note, outcome, author, atNs } = remark;
  const taskType = labels[TASK_TYPE_LABEL] ?? episode.operation?.taskType ?? "";
  const told = {
    ...{ ...episode, labels: { ...episode.labels, ...labels }, note: note ?? episode.note },
    operation: episode.operation === undefined ? undefined : { ...episode.operation, taskType },
  };
  if (outcome === undefined) return told;
  const word = { kind: "operator", outcome, rule: "", atNs, values: { author } } as const;
  // Of an open episode the machine has recorded the word as its evidence already.
  const evidence = episode.evidence.filter(({ kind }) => kind !== "operator");
  const isSolved = outcome === "recovered" || outcome === "succeeded";
  const timeToRecoverMs = isSolved ? episode.timeToRecoverMs : undefined;
  return { ...told, outcome, timeToRecoverMs, evidence: [...evidence, word] };
}

/** Instants are decimal text in the JSON: they exceed 2^53. */
function formatEpisode(episode: Episode): string {
  return JSON.stringify(episode, (_, value) => (typeof value === "bigint" ? `${value}n` : value));
}

function parseRow(row: unknown): StoredEpisode {
  const said: Episode = JSON.parse(textOf(row, "body"), (key, value) =>
    key.endsWith("Ns") && typeof value === "string" && /^-?\d+n$/.test(value) ? BigInt(value.slice(0, -1)) : value,
  );
  const state = textOf(row, "state");
  assert(state === "open" || state === "sealed" || state === "batched", "an episode's row has a known state");
  const completeness = said.completeness.map((topic) => ({ ...UNSAID_TOPIC, ...topic }));
  return { episode: { ...UNSAID, ...said, completeness }, state };
}

function parseRemark(row: unknown): Remark {
  const { labels = {}, note, outcome }: EpisodeEdit = JSON.parse(textOf(row, "edit"));
  return { atNs: BigInt(textOf(row, "at_ns")), author: textOf(row, "author"), labels, note, outcome };
}

function textOf(row: unknown, column: string): string {
  assert(typeof row === "object" && row !== null, "a row is an object");
  return String(Object.getOwnPropertyDescriptor(row, column)?.value);
}
