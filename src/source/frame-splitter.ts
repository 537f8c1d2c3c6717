/**
 * Takes whole binary WebSocket frames out of a socket's bytes, so that neither the socket's reads nor `ws` allocate
 * for them: at 22 MB/s the memory they come and go in costs more collecting than everything else does. Reads go into
 * this reader's own memory (`room`, `taken`), each behind the last while a frame is incomplete, so that a frame lies in
 * one piece without having been copied together.
 *
 * Server → client bytes in, as they are read (RFC 6455 §5.2, after the HTTP response of the handshake). An unmasked,
 * unfragmented binary frame within the bound is handed on whole; every other byte goes on to `ws`, in order. At the first frame that is not for this reader to judge (closing,
 * reserved, masked, oversized, out of order) all that follows is for `ws` alone.
 */

/** Of a robot's usual images several, so that few are moved to the memory's beginning. */
const MEMORY_BYTES = 1024 * 1024;
/** More, for a larger frame, is given back after it. */
const KEPT_BYTES_MAX = 16 * 1024 * 1024;
const HEAD_BYTES_MAX = 10;
const HEADERS_END = Buffer.from("\r\n\r\n", "latin1");
/** Node's HTTP client gives up at 16 KiB of headers; what a server says beyond this is for it alone. */
const RESPONSE_CHARS_MAX = 64 * 1024;
const UPGRADED = /^HTTP\/1\.[01] 101/;

const FINAL_CONTINUATION = 0x80;
const BINARY = 0x82;
/** First bytes of the frames that `ws` reads, between which binary ones may stand: text, ping, pong and pieces. */
const FOR_WS = new Set([0x00, 0x01, 0x02, FINAL_CONTINUATION, 0x81, 0x89, 0x8a]);

export type FrameSplitterSink = {
  /** The payload is `bytes` from `start` to `end`, borrowed for the call. */
  onBinary(bytes: Buffer, start: number, end: number): void;
  /** Borrowed as well. */
  onRest(bytes: Buffer): void;
};

type State = "handshake" | "head" | "binary" | "other" | "rest";

export class FrameSplitter {
  readonly #bytesMax: number;
  readonly #sink: FrameSplitterSink;
  #state: State = "handshake";
  #response = "";
  readonly #head = Buffer.alloc(HEAD_BYTES_MAX);
  #headBytes = 0;
  /** Of the present frame's payload, what has not come yet. */
  #left = 0;
  #isFragmented = false;
  #memory: Buffer;
  /** Up to here the memory holds the present frame, as far as it has come; 0 between frames. */
  #filled = 0;
  /** Where the present frame's payload begins. */
  #start = 0;

  constructor(bytesMax: number, sink: FrameSplitterSink, memoryBytes = MEMORY_BYTES) {
    this.#bytesMax = bytesMax;
    this.#sink = sink;
    this.#memory = Buffer.allocUnsafeSlow(memoryBytes);
  }

  /** Where the next read goes. */
  room(): Buffer {
    return this.#memory.subarray(this.#filled);
  }

  /** So many bytes were read there. */
  taken(count: number): void {
    const bytes = this.#memory.subarray(0, this.#filled + count);
    for (let at = this.#filled; at < bytes.length; ) at = this.#takeWhole(bytes, at);
    if (this.#state === "binary") this.#keepRoom(bytes.length);
    else {
      this.#filled = 0;
      if (this.#memory.length > KEPT_BYTES_MAX) this.#memory = Buffer.allocUnsafeSlow(MEMORY_BYTES);
    }
  }

  /** The frame is incomplete. Memory grows with what has come, not with what a frame's head claims. */
  #keepRoom(end: number): void {
    const come = end - this.#start;
    const { length } = this.#memory;
    this.#filled = end;
    if (this.#start + come + this.#left <= length || (this.#start === 0 && come < length)) return;
    const larger = come === length ? Buffer.allocUnsafeSlow(2 * length) : this.#memory;
    this.#memory.copy(larger, 0, this.#start, end);
    this.#memory = larger;
    this.#start = 0;
    this.#filled = come;
  }

  /** What nearly all of the traffic is: a short binary frame, of which this read holds all. */
  #takeWhole(bytes: Buffer, at: number): number {
    if (this.#state !== "head" || this.#headBytes > 0 || this.#isFragmented) return this.#step(bytes, at);
    const length = bytes[at + 1] ?? 255;
    const start = length === 126 ? at + 4 : at + 2;
    const end = start + (length === 126 ? (bytes[at + 2] ?? 0) * 256 + (bytes[at + 3] ?? 0) : length);
    if (bytes[at] !== BINARY || length > 126 || end > bytes.length || end - start > this.#bytesMax)
      return this.#step(bytes, at);
    this.#sink.onBinary(bytes, start, end);
    return end;
  }

  #step(bytes: Buffer, at: number): number {
    switch (this.#state) {
      case "head":
        return this.#takeHead(bytes, at);
      case "binary":
        return this.#takeBinary(bytes, at);
      case "other":
        return this.#takeOther(bytes, at);
      case "handshake":
        return this.#takeHandshake(bytes, at);
      case "rest":
        this.#sink.onRest(bytes.subarray(at));
        return bytes.length;
    }
  }

  #takeHandshake(bytes: Buffer, at: number): number {
    const before = this.#response.slice(1 - HEADERS_END.length);
    const endAt = Buffer.concat([Buffer.from(before, "latin1"), bytes]).indexOf(HEADERS_END);
    const end = endAt < 0 ? bytes.length : endAt + HEADERS_END.length - before.length;
    this.#response += bytes.toString("latin1", at, end);
    if (this.#response.length > RESPONSE_CHARS_MAX) this.#state = "rest";
    else if (endAt >= 0) this.#state = UPGRADED.test(this.#response) ? "head" : "rest";
    this.#sink.onRest(bytes.subarray(at, end));
    return end;
  }

  #takeHead(bytes: Buffer, at: number): number {
    this.#head[this.#headBytes] = bytes[at] ?? 0;
    this.#headBytes += 1;
    if (this.#headBytes >= 2 && this.#headBytes === headBytes(this.#head)) this.#begin(at + 1);
    return at + 1;
  }

  #begin(start: number): void {
    const head = this.#head.subarray(0, this.#headBytes);
    this.#headBytes = 0;
    this.#left = payloadBytes(head);
    const first = head[0] ?? 0;
    if (first === BINARY && !this.#isFragmented && this.#left <= this.#bytesMax) {
      this.#state = "binary";
      this.#start = start;
      if (this.#left === 0) this.#deliver(head, 0, 0);
      return;
    }
    const isForWs = FOR_WS.has(first) && this.#left <= this.#bytesMax;
    this.#state = isForWs ? (this.#left > 0 ? "other" : "head") : "rest";
    if (first === 0x01 || first === 0x02) this.#isFragmented = true;
    if (first === FINAL_CONTINUATION) this.#isFragmented = false;
    this.#sink.onRest(head);
  }

  #takeOther(bytes: Buffer, at: number): number {
    const end = Math.min(at + this.#left, bytes.length);
    this.#left -= end - at;
    if (this.#left === 0) this.#state = "head";
    this.#sink.onRest(bytes.subarray(at, end));
    return end;
  }

  #takeBinary(bytes: Buffer, at: number): number {
    const end = Math.min(at + this.#left, bytes.length);
    this.#left -= end - at;
    if (this.#left === 0) this.#deliver(bytes, this.#start, end);
    return end;
  }

  #deliver(bytes: Buffer, start: number, end: number): void {
    this.#state = "head";
    this.#sink.onBinary(bytes, start, end);
  }
}

/** How long a frame's head is, by its second byte. A masked one is not ours, and its mask belongs to the rest. */
function headBytes(head: Buffer): number {
  const length = (head[1] ?? 0) & 0x7f;
  return length < 126 ? 2 : length === 126 ? 4 : HEAD_BYTES_MAX;
}

/** Infinity where the frame is masked: a server's never is. */
function payloadBytes(head: Buffer): number {
  const second = head[1] ?? 0;
  if (second >= 0x80) return Number.POSITIVE_INFINITY;
  if (second === 126) return head.readUInt16BE(2);
  return second === 127 ? Number(head.readBigUInt64BE(2)) : second;
}
