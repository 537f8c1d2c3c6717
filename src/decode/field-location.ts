/**
 * Where a field stands in a message, found again without walking.
 *
 * It depends only on the counts before it (string lengths, array sizes). A location remembers those counts and the
 * offset that followed from them; while a message shows the same counts at the same places the offset holds
 * (compared word by word, so a message buffer may be filled again), else the message is walked and the new layout
 * remembered. An element chosen by name is remembered with its name, which is compared too; names are taken to be unique.
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

const WORDS_MAX = 256; // of a remembered layout; a field behind more counts than that is walked to every time

/** Where a field of one fixed-size value stands, for readers of other forms. undefined: the type has no such field. */
export function compileLocation(
  parsed: ParsedSchema,
  encoding: WireEncoding,
  path: string,
  type: FixedPrimitiveName,
): Location | undefined {
  const plan = planPath(parsed, path);
  if ("problem" in plan || plan.target.kind !== "value" || plan.target.type !== type) return undefined;
  return new Location(plan, encoding);
}

/**
 * What must stand where in a message for the target to stand at `offset`: every count before it, and the name it was
 * chosen by. Words of 4 bytes: a name's first word reaches back into its count, which is the same too.
 */
type Layout = {
  kind: number; // the encapsulation, in CDR
  isLittleEndian: boolean;
  readonly wordOffsets: number[];
  readonly words: number[];
  offset: number;
  /** A message must be as long for the layout to apply; Infinity: it never does. */
  needsBytes: number;
};

/**
 * Finds the target, remembering the layouts of the last two kinds of message: two publishers on one
 * topic (the joints of arm and gripper) take turns.
 */
export class Location {
  readonly #plan: Plan;
  readonly #cursor: Cursor;
  readonly #isCdr: boolean;
  #layout = emptyLayout();
  #otherLayout = emptyLayout();
  #lastCountOffset = -1;

  constructor(plan: Plan, encoding: WireEncoding) {
    this.#plan = plan;
    this.#isCdr = encoding === "cdr";
    this.#cursor = new Cursor(encoding, (offset, value) => this.#rememberCount(offset, value));
  }

  /** Of the message that was found last. */
  get isLittleEndian(): boolean {
    return this.#layout.isLittleEndian;
  }

  /** The offset of the target's first byte; a value of fixed size fits into the message. −1 if it is not there. */
  find(view: DataView, sizeBytes: number): number {
    if (this.#applies(this.#layout, view, sizeBytes)) return this.#layout.offset;
    const other = this.#otherLayout;
    this.#otherLayout = this.#layout;
    this.#layout = other;
    return this.#applies(other, view, sizeBytes) ? other.offset : this.#walk(view, sizeBytes);
  }

  #applies(layout: Layout, view: DataView, sizeBytes: number): boolean {
    if (sizeBytes < layout.needsBytes || (this.#isCdr && view.getUint16(0) !== layout.kind)) return false;
    const { wordOffsets, words, isLittleEndian } = layout;
    for (let index = 0; index < wordOffsets.length; index += 1)
      if (view.getUint32(wordOffsets[index] ?? 0, isLittleEndian) !== words[index]) return false;
    return true;
  }

  #walk(view: DataView, sizeBytes: number): number {
    const cursor = this.#cursor;
    const layout = this.#layout;
    layout.needsBytes = Number.POSITIVE_INFINITY;
    layout.wordOffsets.length = 0;
    layout.words.length = 0;
    this.#lastCountOffset = -1;
    if (!cursor.start(view, sizeBytes)) return -1;
    layout.isLittleEndian = cursor.isLittleEndian;
    const found = move(cursor, this.#plan.moves);
    const valueBytes = found === undefined ? -1 : this.#alignToValue();
    if (found === undefined || valueBytes < 0) return -1;
    for (let end = found.end; end > found.start; end -= 4)
      this.#remember(end - 4, view.getUint32(end - 4, layout.isLittleEndian));
    layout.kind = this.#isCdr ? view.getUint16(0) : 0;
    layout.offset = cursor.offset;
    if (layout.words.length <= WORDS_MAX)
      layout.needsBytes = Math.max(cursor.offset + valueBytes, ...layout.wordOffsets.map((offset) => offset + 4));
    return cursor.offset;
  }

  /** The size of a value of fixed size, 0 for other targets, −1 if it does not fit. */
  #alignToValue(): number {
    const { target } = this.#plan;
    if (target.kind !== "value" || !isFixedPrimitive(target.type)) return 0;
    return this.#cursor.fits(target.type) ? PRIMITIVE_BYTES[target.type] : -1;
  }

  /** A stretch may be walked twice (a name is looked up first): each count is remembered once. */
  #rememberCount(offset: number, value: number): void {
    if (offset <= this.#lastCountOffset) return;
    this.#lastCountOffset = offset;
    this.#remember(offset, value);
  }

  #remember(offset: number, word: number): void {
    if (this.#layout.words.length > WORDS_MAX) return;
    this.#layout.wordOffsets.push(offset);
    this.#layout.words.push(word);
  }
}

function emptyLayout(): Layout {
  const needsBytes = Number.POSITIVE_INFINITY;
  return { kind: 0, isLittleEndian: true, wordOffsets: [], words: [], offset: -1, needsBytes };
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
