/**
 * Reads a rosbridge cbor-raw frame by its shape, without building the object a CBOR decoder would.
 *
 * The servers write one shape, always in this order (rosbridge_library, `capabilities/subscribe.py` and
 * `internal/outgoing_message.py`; CBOR: RFC 8949 §3):
 *
 *     a3  "op" "publish"  "topic" <text>  "msg" a3  "secs" <uint>  "nsecs" <uint>  "bytes" <byte string>
 *
 * Every length is checked against the frame before it is used. A frame of any other shape, or one that ends too
 * early or too late, is refused untouched: a full decoder says what it is.
 */
const HEAD = Buffer.from("\xa3\x62op\x67publish\x65topic", "latin1");
const SECS = Buffer.from("\x63msg\xa3\x64secs", "latin1");
const NSECS = Buffer.from("\x65nsecs", "latin1");
const BYTES = Buffer.from("\x65bytes", "latin1");

const MAJOR_UINT = 0;
const MAJOR_BYTES = 2;
const MAJOR_TEXT = 3;
const NO_BYTES = Buffer.alloc(0);
/** Remembered; a robot has hundreds, and a hostile bridge as many as it likes, of any length. */
const TOPICS_MAX = 2000;
const NAME_BYTES_MAX = 1024;

type KnownTopic = { readonly name: string; readonly bytes: Uint8Array };

export class FrameReader {
  /** Of the frame read last, valid where `read` said true. */
  topic = "";
  /** The bridge's clock when it sent the frame. */
  secs = 0;
  nsecs = 0;
  /** A view into the frame. */
  bytes: Uint8Array = NO_BYTES;
  #frame: Buffer = NO_BYTES;
  #at = 0;
  #end = 0;
  /** By the length of their names: to compare bytes costs less than to make a string of them. */
  readonly #topics = new Map<number, KnownTopic[]>();
  #topicCount = 0;

  /** The frame stands from `start` to `end`. */
  read(frame: Buffer, start = 0, end = frame.length): boolean {
    this.#frame = frame;
    this.#at = start;
    this.#end = end;
    return this.#skip(HEAD) && this.#readTopic() && this.#readStamp() && this.#readBytes();
  }

  #readTopic(): boolean {
    const length = this.#readHead(MAJOR_TEXT);
    if (length < 0) return false;
    const end = this.#at + length;
    if (end > this.#end) return false;
    this.topic = this.#topicAt(length);
    this.#at = end;
    return true;
  }

  #topicAt(length: number): string {
    const known = this.#topics.get(length);
    if (known !== undefined) for (const topic of known) if (this.#isAt(topic.bytes)) return topic.name;
    const bytes = Buffer.from(this.#frame.subarray(this.#at, this.#at + length));
    // ROS names are ASCII; anything else only has to stay distinct.
    const name = bytes.toString("latin1");
    if (this.#topicCount >= TOPICS_MAX || length > NAME_BYTES_MAX) return name;
    this.#topicCount += 1;
    if (known === undefined) this.#topics.set(length, [{ name, bytes }]);
    else known.push({ name, bytes });
    return name;
  }

  /** From the end: topics of one length often begin alike. */
  #isAt(expected: Uint8Array): boolean {
    for (let i = expected.length - 1; i >= 0; i--) if (this.#frame[this.#at + i] !== expected[i]) return false;
    return true;
  }

  #readStamp(): boolean {
    if (!this.#skip(SECS)) return false;
    this.secs = this.#readHead(MAJOR_UINT);
    if (this.secs < 0 || !this.#skip(NSECS)) return false;
    this.nsecs = this.#readHead(MAJOR_UINT);
    return this.nsecs >= 0;
  }

  #readBytes(): boolean {
    if (!this.#skip(BYTES)) return false;
    const size = this.#readHead(MAJOR_BYTES);
    if (size < 0 || this.#at + size !== this.#end) return false;
    this.bytes = new Uint8Array(this.#frame.buffer, this.#frame.byteOffset + this.#at, size);
    return true;
  }

  #skip(expected: Buffer): boolean {
    const frame = this.#frame;
    const at = this.#at;
    if (at + expected.length > this.#end) return false;
    for (let i = 0; i < expected.length; i++) if (frame[at + i] !== expected[i]) return false;
    this.#at = at + expected.length;
    return true;
  }

  /** The argument of a CBOR head of this major type, or -1: another type, an indefinite length, or no room for it. */
  #readHead(major: number): number {
    const frame = this.#frame;
    const first = frame[this.#at];
    if (first === undefined || this.#at >= this.#end || first >> 5 !== major) return -1;
    const info = first & 0x1f;
    if (info > 27) return -1;
    const size = info < 24 ? 0 : 1 << (info - 24);
    const end = this.#at + 1 + size;
    if (end > this.#end) return -1;
    let value = size === 0 ? info : 0;
    for (let i = this.#at + 1; i < end; i++) value = value * 256 + (frame[i] ?? 0);
    this.#at = end;
    return value;
  }
}

/**
 * The topic that a frame of any shape says it is for, from its first bytes alone, so that a frame that is not read
 * can still be counted under its topic; "" if it does not say so there.
 */
export function peekTopic(frame: Buffer): string {
  const start = frame.subarray(0, 512);
  const keyAt = start.indexOf("\x65topic", 0, "latin1");
  if (keyAt >= 0) return peekCborText(start, keyAt + 6);
  return /"topic"\s*:\s*"([^"\\]{1,255})"/.exec(start.toString("latin1"))?.[1] ?? "";
}

function peekCborText(start: Buffer, at: number): string {
  const head = start[at] ?? 0;
  const isShort = head >= 0x60 && head < 0x78;
  const length = isShort ? head - 0x60 : head === 0x78 ? (start[at + 1] ?? 0) : 0;
  const from = at + (isShort ? 1 : 2);
  return start.toString("latin1", from, from + length);
}
