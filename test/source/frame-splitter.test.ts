import fc from "fast-check";
import { expect, test } from "vitest";
import { FrameSplitter } from "../../src/source/frame-splitter.ts";
import { feedSplitter } from "../support/feed-splitter.ts";

const HEADERS = Buffer.from("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", "latin1");
const BYTES_MAX = 100_000;

function frame(first: number, payload: Buffer): Buffer {
  const length = payload.length;
  if (length < 126) return Buffer.concat([Buffer.from([first, length]), payload]);
  const head = Buffer.alloc(length < 65_536 ? 4 : 10);
  head[0] = first;
  head[1] = length < 65_536 ? 126 : 127;
  if (length < 65_536) head.writeUInt16BE(length, 2);
  else head.writeBigUInt64BE(BigInt(length), 2);
  return Buffer.concat([head, payload]);
}

/** What comes out of the stream, read in pieces of these sizes (the last one over and over). */
function split(stream: Buffer, readSizes: readonly number[] = [stream.length], memoryBytes = 64) {
  const binaries: Buffer[] = [];
  const rest: Buffer[] = [];
  const splitter = new FrameSplitter(
    BYTES_MAX,
    {
      onBinary: (bytes, start, end) => binaries.push(Buffer.from(bytes.subarray(start, end))),
      onRest: (bytes) => rest.push(Buffer.from(bytes)),
    },
    memoryBytes,
  );
  for (let at = 0, read = 0; at < stream.length; read += 1) {
    const size = Math.max(1, readSizes[Math.min(read, readSizes.length - 1)] ?? 1);
    feedSplitter(splitter, stream.subarray(at, at + size));
    at += size;
  }
  return { binaries, rest: Buffer.concat(rest) };
}

const payload = fc
  .tuple(fc.oneof(fc.nat(5), fc.constantFrom(125, 126, 300, 65_535, 65_536, 90_000)), fc.nat(255))
  .map(([size, value]) => Buffer.alloc(size, value));
const first = fc.constantFrom(0x82, 0x82, 0x82, 0x81, 0x89, 0x8a);

test("whatever the reads are, binary frames come whole and in order and ws gets every other byte", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(first, payload), { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 80_000 }), { minLength: 1, maxLength: 20 }),
      (frames, readSizes) => {
        const whole = frames.map(([kind, bytes]) => frame(kind, bytes));
        const { binaries, rest } = split(Buffer.concat([HEADERS, ...whole]), readSizes);
        const isBinary = ([kind]: readonly [number, Buffer]) => kind === 0x82;
        expect(binaries.map((bytes) => bytes.toString("hex"))).toEqual(
          frames.filter(isBinary).map(([, bytes]) => bytes.toString("hex")),
        );
        const others = whole.filter((_, index) => frames[index]?.[0] !== 0x82);
        expect(rest.equals(Buffer.concat([HEADERS, ...others]))).toBe(true);
      },
    ),
    { numRuns: 150 },
  );
});

test("reads of one byte are enough", () => {
  const stream = Buffer.concat([HEADERS, frame(0x82, Buffer.alloc(300, 7)), frame(0x81, Buffer.from("{}"))]);
  const { binaries, rest } = split(stream, [1]);
  expect(binaries).toEqual([Buffer.alloc(300, 7)]);
  expect(rest).toEqual(Buffer.concat([HEADERS, frame(0x81, Buffer.from("{}"))]));
});

test("pieces of a message go to ws, and so does a binary frame among them", () => {
  const pieces = [frame(0x02, Buffer.from("ab")), frame(0x89, Buffer.alloc(0)), frame(0x80, Buffer.from("cd"))];
  const stream = Buffer.concat([HEADERS, ...pieces, frame(0x82, Buffer.from("whole"))]);
  expect(split(stream).binaries).toEqual([Buffer.from("whole")]);
  const wrong = Buffer.concat([HEADERS, frame(0x01, Buffer.from("ab")), frame(0x82, Buffer.from("x"))]);
  expect(split(wrong)).toEqual({ binaries: [], rest: wrong });
});

test.each([
  ["closing", frame(0x88, Buffer.from([0x03, 0xe8]))],
  ["compressed", frame(0xc2, Buffer.from("x"))],
  ["of a reserved kind", frame(0x83, Buffer.from("x"))],
  ["masked", Buffer.from([0x82, 0x81, 1, 2, 3, 4, 5])],
  ["over the bound", Buffer.from([0x82, 127, 0, 0, 0, 0, 0, 1, 0x86, 0xa1])],
  ["absurdly long", Buffer.from([0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255])],
])("from a frame that is %s on everything is for ws", (_, bytes) => {
  const tail = Buffer.concat([bytes, frame(0x82, Buffer.from("later"))]);
  const { binaries, rest } = split(Buffer.concat([HEADERS, frame(0x82, Buffer.from("before")), tail]), [3]);
  expect(binaries).toEqual([Buffer.from("before")]);
  expect(rest).toEqual(Buffer.concat([HEADERS, tail]));
});

test("an answer that is no upgrade is left to the HTTP client as it is", () => {
  const answer = Buffer.concat([Buffer.from("HTTP/1.1 404 Not Found\r\n\r\n"), frame(0x82, Buffer.from("body"))]);
  expect(split(answer, [5])).toEqual({ binaries: [], rest: answer });
});

test("headers that never end are not kept, and no frame is looked for behind them", () => {
  const endless = Buffer.concat([
    Buffer.from("HTTP/1.1 101 x\r\n"),
    Buffer.alloc(100_000, "x"),
    Buffer.from("\r\n\r\n"),
  ]);
  const stream = Buffer.concat([endless, frame(0x82, Buffer.from("body"))]);
  expect(split(stream, [1000])).toEqual({ binaries: [], rest: stream });
});
