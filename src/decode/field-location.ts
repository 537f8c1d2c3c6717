/**
 * Where fields stand in a channel's messages, found again without walking.
 *
 * That depends only on the counts before them (string lengths, array sizes). `Layouts` remembers those counts, and
 * the offsets that followed from them: while a message shows the same counts at the same places the offsets hold. All
 * fields of a channel share one `Layouts`, so that a message is compared once (word by word), however many fields are
 * read. From the first count that differs, the message is walked and the new layout remembered. An element chosen by name is
 * remembered with its name, which is compared too; names are taken to be unique.
 */
import { Cursor, type WireEncoding } from "./cursor.ts";
import { type Move, type Plan, planPath } from "./field-plan.ts";
import {
  type Field,
  type FixedPrimitiveName,
  isFixedPrimitive,
  type ParsedSchema,
  PRIMITIVE_BYTES,
} from "./parsed-schema.ts";

const WORDS_MAX = 512; // of a remembered layout; a field behind more counts than that is walked to every time

/** Where a field of one fixed-size value stands, for readers of other forms. undefined: the type has no such field. */
export function compileLocation(
  parsed: ParsedSchema,
  encoding: WireEncoding,
  path: string,
  type: FixedPrimitiveName,
): Location | undefined {
  const plan = planPath(parsed, path);
  if ("problem" in plan || plan.target.kind !== "value" || plan.target.type !== type) return undefined;
  return new Location(plan, new Layouts(parsed, encoding));
}

/**
 * What must stand where in a message for the fields to stand at their offsets: every count before them, and the names
 * they were chosen by, in the order of the message. Words of 4 bytes: a name's first word reaches back into its count, which is the same too.
 */
type Layout = {
  kind: number; // the encapsulation, in CDR; −1: none yet
  isLittleEndian: boolean;
  /** Typed, since they are compared with every message; the first `count` of them count. */
  wordOffsets: Int32Array;
  words: Int32Array;
  count: number;
  /** By the location's index: the field's first byte (−1: not known), the byte behind it, and behind the last word it depends on. */
  readonly starts: number[];
  readonly ends: number[];
  readonly untils: number[];
};

/**
 * The layouts of the last two kinds of message: two publishers on one topic (the joints of arm and gripper) take
 * turns. A message is known by its object: one that is filled again with another message is noticed by each location
 * that has already read it, and by none that has not.
 */
export class Layouts {
  readonly parsed: ParsedSchema;
  readonly encoding: WireEncoding;
  readonly #isCdr: boolean;
  readonly #cursor: Cursor;
  #layout = emptyLayout();
  #otherLayout = emptyLayout();
  #message: Uint8Array | undefined;
  #turn = 0;
  #locationCount = 0;
  /** Of the walk at hand. */
  readonly #countOffsets: number[] = [];
  readonly #counts: number[] = [];
  /** Of the message that was looked at last. */
  view: DataView = new DataView(new ArrayBuffer(0));
  sizeBytes = 0;

  constructor(parsed: ParsedSchema, encoding: WireEncoding) {
    this.parsed = parsed;
    this.encoding = encoding;
    this.#isCdr = encoding === "cdr";
    this.#cursor = new Cursor(encoding, (offset, value) => this.#note(offset, value));
  }

  get isLittleEndian(): boolean {
    return this.#layout.isLittleEndian;
  }

  /** A number of its own for a location. */
  join(): number {
    this.#locationCount += 1;
    return this.#locationCount - 1;
  }

  /** Looks at the message, unless it is the one at hand and was not read in this turn. Returns the turn. */
  turnOf(message: Uint8Array, lastTurn: number): number {
    if (message !== this.#message || lastTurn === this.#turn) this.#look(message);
    return this.#turn;
  }

  /** The first byte of a location's field in the message at hand; −1 if it is not there. */
  find(index: number, plan: Plan): number {
    const start = this.#layout.starts[index] ?? -1;
    return start >= 0 && (this.#layout.ends[index] ?? 0) <= this.sizeBytes ? start : this.#walk(index, plan);
  }

  #look(message: Uint8Array): void {
    this.#message = message;
    this.#turn += 1;
    this.view = this.parsed.viewOf(message);
    this.sizeBytes = message.byteLength;
    const kind = this.#isCdr ? (this.sizeBytes < 4 ? NO_KIND : this.view.getUint16(0)) : ROS1_KIND;
    if (this.#wordsHeld(this.#layout, kind) === this.#layout.count) return;
    const older = this.#otherLayout;
    this.#otherLayout = this.#layout;
    this.#layout = older;
    const held = this.#wordsHeld(older, kind);
    if (held < older.count || older.kind !== kind) forgetFrom(older, held, kind);
  }

  /** How many of the layout's words, from the first on, stand in the message at hand; −1: it is another encapsulation. */
  #wordsHeld(layout: Layout, kind: number): number {
    if (layout.kind !== kind) return -1;
    const { view, sizeBytes } = this;
    const { wordOffsets, words, isLittleEndian } = layout;
    let count = layout.count;
    while (count > 0 && (wordOffsets[count - 1] ?? 0) + 4 > sizeBytes) count -= 1;
    let index = 0;
    // The loop of all loops: with a constant byte order it takes half the time.
    if (isLittleEndian)
      for (; index < count; index += 1) {
        if (view.getInt32(wordOffsets[index] ?? 0, true) !== words[index]) break;
      }
    else
      for (; index < count; index += 1) {
        if (view.getInt32(wordOffsets[index] ?? 0, false) !== words[index]) break;
      }
    return index;
  }

  #walk(index: number, plan: Plan): number {
    const cursor = this.#cursor;
    this.#countOffsets.length = 0;
    this.#counts.length = 0;
    if (!cursor.start(this.view, this.sizeBytes)) return -1;
    const found = move(cursor, plan.moves);
    const valueBytes = found === undefined ? -1 : alignToValue(cursor, plan);
    if (found === undefined || valueBytes < 0) return -1;
    for (let end = found.end; end > found.start; end -= 4)
      this.#note(end - 4, this.view.getUint32(end - 4, cursor.isLittleEndian));
    this.#remember(index, cursor.offset, cursor.offset + valueBytes);
    return cursor.offset;
  }

  #note(offset: number, word: number): void {
    if (this.#counts.length > WORDS_MAX) return;
    this.#countOffsets.push(offset);
    this.#counts.push(word);
  }

  #remember(index: number, start: number, end: number): void {
    const { starts, ends, untils } = this.#layout;
    if (this.#layout.count + this.#counts.length > WORDS_MAX) return;
    let until = 0;
    for (const [at, offset] of this.#countOffsets.entries()) {
      until = Math.max(until, offset + 4);
      insertWord(this.#layout, offset, this.#counts[at] ?? 0);
    }
    while (starts.length <= index) {
      starts.push(-1);
      ends.push(0);
      untils.push(0);
    }
    starts[index] = start;
    ends[index] = end;
    untils[index] = until;
  }
}

/** One field's place, by the layouts that it shares with others of its channel. */
export class Location {
  readonly layouts: Layouts;
  readonly #plan: Plan;
  readonly #index: number;
  #turn = 0;

  constructor(plan: Plan, layouts: Layouts) {
    this.#plan = plan;
    this.layouts = layouts;
    this.#index = layouts.join();
  }

  /** The offset of the field's first byte; a value of fixed size fits into the message. −1 if it is not there. */
  find(message: Uint8Array): number {
    this.#turn = this.layouts.turnOf(message, this.#turn);
    return this.layouts.find(this.#index, this.#plan);
  }
}

const NO_KIND = 0xffff; // no encapsulation that is read here
const ROS1_KIND = 1; // there is no encapsulation, and little-endian as that of this number is

function emptyLayout(): Layout {
  const words = { wordOffsets: new Int32Array(16), words: new Int32Array(16), count: 0 };
  return { kind: -1, isLittleEndian: true, ...words, starts: [], ends: [], untils: [] };
}

/** What depends on words from the `held`-th on no longer holds; all of it if they stand in another encapsulation. */
function forgetFrom(layout: Layout, held: number, kind: number): void {
  const from = held < 0 ? 0 : (layout.wordOffsets[held] ?? 0);
  for (let index = 0; index < layout.starts.length; index += 1)
    if (held < 0 || (layout.untils[index] ?? 0) > from) layout.starts[index] = -1;
  layout.count = Math.max(0, held);
  layout.kind = kind;
  layout.isLittleEndian = (kind & 1) === 1;
}

/** In the order of offsets; most are behind all others. One that is there already stays: it is the same message's. */
function insertWord(layout: Layout, offset: number, word: number): void {
  if (layout.count === layout.words.length) {
    layout.wordOffsets = grown(layout.wordOffsets);
    layout.words = grown(layout.words);
  }
  const { wordOffsets, words, count } = layout;
  let place = count;
  while (place > 0 && (wordOffsets[place - 1] ?? 0) >= offset) place -= 1;
  if (place < count && wordOffsets[place] === offset) return; // a stretch is walked twice: a name is looked up first
  wordOffsets.copyWithin(place + 1, place, count);
  words.copyWithin(place + 1, place, count);
  wordOffsets[place] = offset;
  words[place] = word;
  layout.count += 1;
}

function grown(numbers: Int32Array): Int32Array {
  const twice = new Int32Array(numbers.length * 2);
  twice.set(numbers);
  return twice;
}

/** The size of a value of fixed size, 0 for other targets, −1 if it does not fit. */
function alignToValue(cursor: Cursor, { target }: Plan): number {
  if (target.kind !== "value" || !isFixedPrimitive(target.type)) return 0;
  return cursor.fits(target.type) ? PRIMITIVE_BYTES[target.type] : -1;
}

function bytesEqual(view: DataView, offset: number, bytes: Uint8Array): boolean {
  for (let index = 0; index < bytes.length; index += 1)
    if (view.getUint8(offset + index) !== bytes[index]) return false;
  return true;
}

/** Which element has the name that was looked up, and where the name's bytes stand. */
type FoundName = { readonly index: number; readonly start: number; readonly end: number };

const NO_NAME: FoundName = { index: -1, start: 0, end: 0 };

/** Takes the cursor through the moves; undefined if the message does not have them. */
export function move(cursor: Cursor, moves: readonly Move[]): FoundName | undefined {
  let found = NO_NAME;
  for (const step of moves) {
    if (step.kind === "skip") {
      if (!cursor.skipField(step.field)) return undefined;
    } else if (step.kind === "find_name") {
      const name = findName(cursor, step.before, step.names, step.key);
      if (name === undefined) return undefined;
      found = name;
    } else {
      const index = step.kind === "element" ? step.index : found.index;
      if (index >= cursor.enterArray(step.field) || !cursor.skipElements(step.field, index)) return undefined;
    }
  }
  return found;
}

function findName(cursor: Cursor, before: readonly Field[], names: Field, key: Uint8Array): FoundName | undefined {
  const start = cursor.offset;
  for (const field of before) if (!cursor.skipField(field)) return undefined;
  const count = cursor.enterArray(names);
  for (let index = 0; index < count; index += 1) {
    const length = cursor.textBytes();
    if (length < 0) return undefined;
    const offset = cursor.offset - (cursor.isCdr ? length + 1 : length);
    if (length !== key.length || !bytesEqual(cursor.view, offset, key)) continue;
    cursor.offset = start;
    return { index, start: offset, end: offset + length };
  }
  return undefined;
}
