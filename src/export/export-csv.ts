/**
 * One CSV (RFC 4180, UTF-8) per topic: `log_time` (RFC 3339 with ns), `log_time_ns`, `publish_time_ns`, then the
 * message's scalar fields. Columns are known before the first line: the messages are read twice.
 *
 * Every file is whole or absent: `.part`, fdatasync, rename. An abort leaves none of them.
 */
import { closeSync, fdatasyncSync, mkdirSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Channel } from "../model/channel.ts";
import type { RingMessage } from "../ring/message-record.ts";
import type { RingQuery } from "../ring/ring-reader.ts";
import { PART_SUFFIX, renameDurably } from "../std/durable-file.ts";
import { Fault } from "../std/fault.ts";
import { formatTimeNs } from "../std/wire.ts";
import { correctMessage } from "./corrected.ts";
import type { ExportOptions } from "./export-mcap.ts";
import { flatten, type Row } from "./flatten.ts";

/** The ring's reader, or MCAP files. */
export interface MessageSource {
  channels(): ReadonlyMap<number, Channel>;
  /** In order of log_time, none twice. */
  messages(query: RingQuery): Iterable<RingMessage>;
}

/** Throws `Fault("undecodable_message")`. */
export type DecodeMessage = (channel: Channel, message: Uint8Array) => unknown;

export type CsvFile = {
  readonly topic: string;
  readonly path: string;
  readonly messages: number;
  /** Column → why it is not in the table. */
  readonly skipped: Readonly<Record<string, string>>;
  /** Messages that did not decode, and why the first did not. */
  readonly undecodable: number;
  readonly problem: string;
};

const TIME_COLUMNS = ["log_time", "log_time_ns", "publish_time_ns"];
const WRITE_BYTES = 64 * 1024;
/** Between turns for others in this thread, and for Ctrl-C. */
const MESSAGES_PER_TURN = 256;

/** Rejects with the signal's reason; then there is none of the files. */
export async function exportCsv(
  source: MessageSource,
  folder: string,
  decode: DecodeMessage,
  options: ExportOptions,
): Promise<CsvFile[]> {
  mkdirSync(folder, { recursive: true });
  using tables = new Tables(folder, decode);
  for await (const { channel, message } of select(source, options)) tables.learn(channel, message);
  const clocks = new Map(options.clocks?.map((clock) => [clock.bootId, clock]));
  for await (const { channel, message } of select(source, options)) {
    const corrected = correctMessage(message, clocks.get(message.bootId));
    tables.write(channel, options.isCorrected === true ? corrected : message);
    options.onProgress?.(corrected.logTimeNs);
  }
  options.signal.throwIfAborted();
  return tables.finish();
}

async function* select(
  source: MessageSource,
  { parts, wantsTopic, signal }: ExportOptions,
): AsyncGenerator<{ channel: Channel; message: RingMessage }> {
  const wanted = new Map([...source.channels()].filter(([, { topic }]) => wantsTopic(topic)));
  const channelIds = new Set(wanted.keys());
  let count = 0;
  for (const part of parts)
    for (const message of source.messages({ ...part, channelIds })) {
      const channel = wanted.get(message.channelId);
      if (channel !== undefined) yield { channel, message };
      count += 1;
      if (count % MESSAGES_PER_TURN !== 0) continue;
      signal.throwIfAborted();
      await nextTurn();
    }
}

/** The tables of all topics; two channels of a topic (its type changed) share one. */
class Tables {
  readonly #folder: string;
  readonly #decode: DecodeMessage;
  readonly #byTopic = new Map<string, Table>();

  constructor(folder: string, decode: DecodeMessage) {
    this.#folder = folder;
    this.#decode = decode;
  }

  learn(channel: Channel, message: RingMessage): void {
    const table = this.#byTopic.get(channel.topic) ?? new Table(channel.topic, this.#freePath(channel.topic));
    this.#byTopic.set(channel.topic, table);
    table.learn(this.#row(channel, message, table));
  }

  write(channel: Channel, message: RingMessage): void {
    const table = this.#byTopic.get(channel.topic);
    if (table === undefined) return; // it came between the two readings; the first one is the truth
    const row = this.#row(channel, message, undefined);
    if (row !== undefined) table.write(message, row);
  }

  finish(): CsvFile[] {
    return [...this.#byTopic.values()].map((table) => table.finish());
  }

  [Symbol.dispose](): void {
    for (const table of this.#byTopic.values()) table[Symbol.dispose]();
  }

  #row(channel: Channel, { bytes }: RingMessage, learning: Table | undefined): Row | undefined {
    try {
      return flatten(this.#decode(channel, bytes), (column, reason) => learning?.skipped.set(column, reason));
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      learning?.noteUndecodable(error.message);
      return undefined;
    }
  }

  /** `/a/b` and `/a_b` must not share a file. */
  #freePath(topic: string): string {
    const taken = new Set([...this.#byTopic.values()].map(({ path }) => path));
    const stem = topic.replace(/^\/+/, "").replaceAll(/[^A-Za-z0-9._-]/g, "_") || "topic";
    for (let number = 1; ; number += 1) {
      const path = join(this.#folder, number === 1 ? `${stem}.csv` : `${stem}-${number}.csv`);
      if (!taken.has(path)) return path;
    }
  }
}

class Table {
  readonly topic: string;
  readonly path: string;
  readonly skipped = new Map<string, string>();
  readonly #columns = new Set<string>();
  #fd: number | undefined;
  #lines = "";
  #messages = 0;
  #undecodable = 0;
  #problem = "";

  constructor(topic: string, path: string) {
    this.topic = topic;
    this.path = path;
  }

  learn(row: Row | undefined): void {
    for (const column of row?.keys() ?? []) this.#columns.add(column);
  }

  noteUndecodable(problem: string): void {
    this.#undecodable += 1;
    if (this.#problem === "") this.#problem = problem;
  }

  write({ logTimeNs, publishTimeNs }: RingMessage, row: Row): void {
    const times = [formatTimeNs(logTimeNs), String(logTimeNs), String(publishTimeNs)];
    const cells = [...this.#columns].map((column) => row.get(column) ?? "");
    this.#append([...times, ...cells]);
    this.#messages += 1;
  }

  finish(): CsvFile {
    const fd = this.#open();
    this.#flush(fd);
    fdatasyncSync(fd);
    closeSync(fd);
    this.#fd = undefined;
    renameDurably(this.path + PART_SUFFIX, this.path);
    const { topic, path, skipped } = this;
    const counts = { messages: this.#messages, undecodable: this.#undecodable, problem: this.#problem };
    return { topic, path, skipped: Object.fromEntries(skipped), ...counts };
  }

  [Symbol.dispose](): void {
    if (this.#fd === undefined) return;
    closeSync(this.#fd);
    rmSync(this.path + PART_SUFFIX, { force: true });
  }

  #append(cells: readonly string[]): void {
    const fd = this.#open();
    this.#lines += `${cells.map(quote).join(",")}\r\n`;
    if (this.#lines.length >= WRITE_BYTES) this.#flush(fd);
  }

  #open(): number {
    if (this.#fd !== undefined) return this.#fd;
    this.#fd = openSync(this.path + PART_SUFFIX, "w");
    this.#lines = `${[...TIME_COLUMNS, ...this.#columns].map(quote).join(",")}\r\n`;
    return this.#fd;
  }

  #flush(fd: number): void {
    const bytes = Buffer.from(this.#lines, "utf8");
    for (let written = 0; written < bytes.length; ) written += writeSync(fd, bytes, written);
    this.#lines = "";
  }
}

function quote(cell: string): string {
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}
