/**
 * Readers of bytes that somebody else wrote, each with real samples to damage. A target may return, refuse in its own
 * words (`Fault`, a value) and nothing else.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { McapIndexedReader } from "@mcap/core";
import { loadDecompressHandlers } from "@mcap/support";
import { compileDecoder } from "../../src/decode/decoder.ts";
import { compileEncoder } from "../../src/decode/encoder.ts";
import { compileField } from "../../src/decode/field.ts";
import { unpackMessage } from "../../src/decode/msgpack.ts";
import { type ParsedSchema, parseSchema } from "../../src/decode/parsed-schema.ts";
import { compileStamp } from "../../src/decode/stamp.ts";
import { compileVideoFrame } from "../../src/decode/video-frame.ts";
import { McapSource } from "../../src/export/mcap-source.ts";
import { parseManifest } from "../../src/protocol/manifest.ts";
import { compressFrame, decompressFrame } from "../../src/ring/lz4-frame.ts";
import { readRecord, recordOffsets, viewOf, writeRecordHeader } from "../../src/ring/message-record.ts";
import { decodeSegmentHeader, encodeSegmentHeader } from "../../src/ring/segment-header.ts";
import { BridgeTransport } from "../../src/source/bridge-transport.ts";
import { FrameReader, peekTopic } from "../../src/source/frame-reader.ts";
import { FrameSplitter } from "../../src/source/frame-splitter.ts";
import { assert } from "../../src/std/assert.ts";
import { systemClock } from "../../src/std/clock.ts";
import type { Random } from "../../src/std/random.ts";
import { noise } from "../ring/ring-rig.ts";
import { FakeBridge, rawFrame } from "../source/fake-bridge.ts";
import { feedSplitter } from "../support/feed-splitter.ts";

export type Target = {
  readonly name: string;
  /** Of so many cases one is this target's: slow ones are seldom. */
  readonly every: number;
  readonly samples: readonly Buffer[];
  readonly read: (bytes: Buffer, random: Random) => void | Promise<void>;
};

const RECORDINGS = join(import.meta.dirname, "../data/recordings");
const SAMPLES_PER_CHANNEL = 4;
const FRAME_BYTES_MAX = 1_000_000;

type Sample = { readonly parsed: ParsedSchema; readonly encoding: "ros1" | "cdr"; readonly messages: Buffer[] };

/** Real messages of real types, by type. */
async function realMessages(): Promise<Sample[]> {
  const byType = new Map<string, Sample>();
  for (const name of ["sim_cup_slip_recover.mcap", "kobuki_left_wheel_fault.mcap", "auv_cougars_short.mcap"]) {
    const bytes = readFileSync(join(RECORDINGS, name));
    const reader = await McapIndexedReader.Initialize({
      readable: {
        size: async () => BigInt(bytes.length),
        read: async (offset, size) => new Uint8Array(bytes.subarray(Number(offset), Number(offset + size))),
      },
      decompressHandlers: await loadDecompressHandlers(),
    });
    for await (const { channelId, data } of reader.readMessages()) {
      const channel = reader.channelsById.get(channelId);
      const schema = reader.schemasById.get(channel?.schemaId ?? 0);
      if (schema === undefined || (schema.encoding !== "ros1msg" && schema.encoding !== "ros2msg")) continue;
      const encoding = schema.encoding === "ros1msg" ? "ros1" : "cdr";
      const known = byType.get(schema.name + encoding);
      if (known !== undefined && known.messages.length < SAMPLES_PER_CHANNEL) known.messages.push(Buffer.from(data));
      if (known !== undefined) continue;
      const text = Buffer.from(schema.data).toString();
      const parsed = parseSchema({ name: schema.name, encoding: schema.encoding, text });
      if ("problem" in parsed) continue;
      byType.set(schema.name + encoding, { parsed, encoding, messages: [Buffer.from(data)] });
    }
  }
  return [...byType.values()];
}

/** Of a message: some of its fields, its stamp, its video frames and all of it. The first byte chooses the type. */
function decodeTarget(types: readonly Sample[]): Target {
  const readers = types.map(({ parsed, encoding }) => {
    const fields = parsed.root.fields.flatMap(({ name, type, length }) => {
      const inner =
        type.kind === "struct"
          ? type.fields.map((field) => `${name}${length.kind === "one" ? "" : "[*]"}.${field.name}`)
          : [];
      return [name, `${name}[1]`, ...inner].map((path) => compileField(parsed, encoding, path));
    });
    return [
      ...fields.filter((reader) => typeof reader === "function"),
      ...[compileStamp(parsed, encoding), compileVideoFrame(parsed, encoding)].filter((reader) => reader !== undefined),
      compileDecoder(parsed, encoding),
    ];
  });
  const samples = types.flatMap(({ messages }, index) =>
    messages.map((bytes) => Buffer.concat([Buffer.from([index]), bytes])),
  );
  return {
    ...{ name: "decoder", every: 2, samples },
    read: (bytes, random) => {
      const of = readers[(bytes[0] ?? 0) % readers.length] ?? [];
      const message = bytes.subarray(1);
      for (const reader of [of[Math.floor(random() * of.length)], of.at(-1)]) reader?.(message);
    },
  };
}

/** Definitions: parsed, and if that goes, a message of noise is read by them. */
function schemaTarget(types: readonly Sample[]): Target {
  const texts =
    readFileSync(join(RECORDINGS, "sim_cup_slip_recover.mcap"))
      .toString("latin1")
      .match(/(?:[\w/]+(?:\[\d*\])? \w+\n){3,}/g) ?? [];
  const bombs = [
    "A[4000000000] a\n===\nMSG: a/A\nB[4000000000] b\n===\nMSG: a/B\nuint8 x\n",
    "a/A a\n===\nMSG: a/A\na/A a\n",
    "a/A[] a\n===\nMSG: a/A\n",
    "uint8[4294967295] x\nstring[4294967295] y\n",
    `${Array.from({ length: 200 }, (_, index) => `a/A${index}[9] x\n===\nMSG: a/A${index}\n`).join("")}uint8 x\n`,
    `string<=99999999999 ${"x".repeat(5000)}\n${"int8 A=1\n".repeat(2000)}`,
  ];
  const real = types.flatMap(({ parsed }) =>
    parsed.definitions.map((definition) =>
      definition.definitions.map(({ type, name, isArray }) => `${type}${isArray ? "[]" : ""} ${name}\n`).join(""),
    ),
  );
  const message = Buffer.concat([Buffer.from([0, 1, 0, 0]), noise(400, 3)]);
  return {
    ...{
      name: "schema",
      every: 8,
      samples: [...bombs, ...texts.slice(0, 20), ...real].map((text) => Buffer.from(text)),
    },
    read: (bytes, random) => {
      const isRos1 = random() < 0.5;
      const parsed = parseSchema({
        name: "a/Whole",
        encoding: isRos1 ? "ros1msg" : "ros2msg",
        text: bytes.toString("latin1"),
      });
      if ("problem" in parsed) return;
      const encoding = isRos1 ? "ros1" : "cdr";
      const [first] = parsed.root.fields;
      const field = first === undefined ? undefined : compileField(parsed, encoding, first.name);
      if (typeof field === "function") field(message);
      compileDecoder(parsed, encoding)(message);
    },
  };
}

/** JSON into the types' own bytes, with members that are not what the type says. */
function encoderTarget(types: readonly Sample[]): Target {
  const encoders = types.map(({ parsed, encoding }) => compileEncoder(parsed, encoding));
  const replacer = (_: string, value: unknown) =>
    typeof value === "bigint"
      ? String(value)
      : ArrayBuffer.isView(value)
        ? [...new Uint8Array(value.buffer, value.byteOffset, Math.min(50, value.byteLength))]
        : value;
  const samples = types.flatMap(({ parsed, encoding, messages }, index) =>
    messages
      .slice(0, 2)
      .map((bytes) =>
        Buffer.from(
          `${String.fromCharCode(index)}${JSON.stringify(compileDecoder(parsed, encoding)(bytes), replacer)}`,
        ),
      ),
  );
  return {
    ...{ name: "encoder", every: 8, samples: samples.filter(({ length }) => length < 20_000) },
    read: (bytes, random) => {
      const encode = encoders[(bytes[0] ?? 0) % encoders.length];
      let json: unknown;
      try {
        json = JSON.parse(bytes.toString("utf8", 1));
      } catch {
        json = hostileJson(random, 0);
      }
      if (typeof encode === "function") encode(json);
    },
  };
}

function hostileJson(random: Random, depth: number): unknown {
  const kinds: (() => unknown)[] = [
    () => null,
    () => random() * 1e20,
    () => "9".repeat(Math.floor(random() * 40)),
    () => Array.from({ length: Math.floor(random() * 6) }, () => hostileJson(random, depth + 1)),
    () => ({ header: hostileJson(random, depth + 1), data: hostileJson(random, depth + 1), __proto__: null }),
  ];
  return kinds[Math.floor(random() * (depth > 5 ? 3 : kinds.length))]?.();
}

function frameTarget(types: readonly Sample[]): Target {
  const reader = new FrameReader();
  return {
    ...{
      name: "frame reader",
      every: 1,
      samples: types.flatMap(({ messages }) => messages.map((bytes) => rawFrame("/joint_states", bytes))),
    },
    read: (bytes) => {
      if (reader.read(bytes)) assert(reader.bytes.length < bytes.length, "a payload is smaller than its frame");
      assert(peekTopic(bytes).length <= 512, "a topic is bounded");
    },
  };
}

/** A stream of WebSocket frames in reads of any size. */
function splitterTarget(types: readonly Sample[]): Target {
  const upgrade = Buffer.from("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", "latin1");
  const message = types[0]?.messages[0] ?? Buffer.alloc(100);
  const frames = [0x82, 0x81, 0x89, 0x02, 0x80].map((first) => {
    const payload = message.subarray(0, 200);
    return Buffer.concat([
      payload.length < 126
        ? Buffer.from([first, payload.length])
        : Buffer.from([first, 126, payload.length >> 8, payload.length & 255]),
      payload,
    ]);
  });
  const samples = [Buffer.concat([upgrade, ...frames, ...frames]), Buffer.concat([upgrade, ...frames.slice(0, 2)])];
  return {
    ...{ name: "frame splitter", every: 2, samples },
    read: (bytes, random) => {
      let out = 0;
      const count = (part: Buffer, start = 0, end = part.length) => {
        out += end - start;
      };
      const splitter = new FrameSplitter(FRAME_BYTES_MAX, { onBinary: count, onRest: count }, 128);
      for (let at = 0; at < bytes.length; ) {
        const size = 1 + Math.floor(random() * bytes.length);
        feedSplitter(splitter, bytes.subarray(at, at + size));
        at += size;
      }
      assert(out <= bytes.length, "no byte comes out twice");
    },
  };
}

const bodies = (): Buffer[] =>
  [
    [20, 3],
    [400, 40],
    [3000, 200],
    [60_000, 5],
  ].map(([size = 0, count = 0]) => {
    const records = Array.from({ length: count }, (_, index) => {
      const record = Buffer.alloc(31 + size, index);
      writeRecordHeader(viewOf(record), 0, 1 + (index % 3), index, BigInt(index) * 1000n, 0n, size);
      return record;
    });
    return Buffer.concat(records);
  });

/** A size before the frame that lies, as a damaged row could; the ring's reader bounds it before. */
function lz4Target(): Target {
  const frames = bodies().map((body) => {
    const size = Buffer.alloc(4);
    size.writeUInt32LE(body.length);
    return Buffer.concat([size, compressFrame(body) ?? Buffer.alloc(0)]);
  });
  return {
    ...{ name: "lz4 frame", every: 2, samples: frames },
    read: (bytes, random) => {
      if (bytes.length < 4) return;
      const said = bytes.readUInt32LE(0);
      const size = random() < 0.1 ? Math.floor(random() * 8e6) : Math.min(said, 64e6);
      const body = decompressFrame(bytes.subarray(4), size);
      assert(body.length === size, "a body has the size that was asked for");
    },
  };
}

const recordsTarget = (): Target => ({
  ...{ name: "message records", every: 2, samples: bodies().slice(0, 2) },
  read: (bytes) => {
    const view = viewOf(bytes);
    let total = 0;
    for (const offset of recordOffsets(view)) total += readRecord(view, offset, "").bytes.length;
    assert(total <= bytes.length, "messages lie within their body");
  },
});

/** Half of them with a right checksum over wrong content. */
function headerTarget(): Target {
  const header = {
    id: 7,
    bootId: "boot-1",
    className: "camera",
    isLocal: false,
    kind: "full",
    startNs: 1n,
    endNs: 2n,
  } as const;
  const channels = [1, 2, 3].map((channelId) => ({ channelId, count: 9, baselineCount: 0, bytes: 4000 }));
  const sizes = { bodySize: 10_000, crc32: 1, compression: "lz4", storedSize: 9000, storedCrc32: 2 } as const;
  return {
    ...{ name: "segment header", every: 2, samples: [encodeSegmentHeader({ ...header, ...sizes, channels })] },
    read: (bytes, random) => {
      if (random() < 0.5 && bytes.length >= 54) {
        const length = Math.min(bytes.length, Math.max(54, bytes.readUInt16LE(6)));
        bytes.writeUInt16LE(length, 6);
        bytes.writeUInt32LE(crc32(bytes.subarray(0, length - 4)), length - 4);
      }
      const found = decodeSegmentHeader(bytes);
      assert(found === undefined || found.channels.length * 18 < bytes.length, "channels lie within their header");
    },
  };
}

const msgpackTarget = (): Target => ({
  ...{
    name: "msgpack",
    every: 4,
    samples: [
      Buffer.from([
        0x83, 0xa1, 0x61, 0x93, 1, 2, 0xc0, 0xa1, 0x62, 0xc4, 3, 1, 2, 3, 0xa1, 0x63, 0xcb, 0x40, 9, 0x21, 0xfb, 0x54,
        0x44, 0x2d, 0x18,
      ]),
    ],
  },
  read: (bytes) => void unpackMessage(bytes),
});

const manifestTarget = (text: Buffer): Target => ({
  ...{ name: "manifest", every: 16, samples: [text] },
  read: (bytes) => void parseManifest(bytes.toString("utf8")),
});

/** Exports read MCAP files of Lode's own making, which a USB stick may have damaged. */
function mcapTarget(file: Buffer, folder: string): Target {
  const path = join(folder, "damaged.mcap");
  return {
    ...{ name: "mcap file", every: 2000, samples: [file] },
    read: async (bytes) => {
      writeFileSync(path, bytes);
      using source = await McapSource.open([path]);
      for (const chunk of source.chunks({ startNs: 0n, endNs: 1n << 62n })) {
        const body = viewOf(source.decompress(chunk));
        for (const offset of recordOffsets(body)) readRecord(body, offset, "");
      }
    },
  };
}

/**
 * Through a real socket: `ws`, the splitter, the shape reader, and roslib's decoders for every frame that is none. Each
 * frame is followed by a good one, which must arrive.
 */
async function transportTarget(types: readonly Sample[]): Promise<Target> {
  const bridge = await FakeBridge.open();
  const bounds = { frameBytesMax: FRAME_BYTES_MAX, socketBytesMax: 2 * FRAME_BYTES_MAX };
  const waits = { openTimeoutMs: 5000, pingMs: 60_000, closeTimeoutMs: 1000 };
  const transport = new BridgeTransport(bridge.url, { ...bounds, ...waits }, systemClock, () => {});
  let arrived = () => {};
  transport.on("message", (message: { readonly op: string; readonly topic?: string }) => {
    if (message.topic === SENTINEL) arrived();
  });
  await new Promise((resolve) => transport.on("open", resolve));
  const sentinel = rawFrame(SENTINEL, Buffer.from("ok"));
  const message = types[0]?.messages[0] ?? Buffer.alloc(0);
  const json = Buffer.from(JSON.stringify({ op: "publish", topic: "/a", msg: { a: [1, { b: "c" }], d: null } }));
  const cbor = Buffer.from("a3626f70677075626c69736865746f706963622f61636d7367a161618301820203f6", "hex");
  const bombs = [
    Buffer.alloc(200_000, 0x81),
    Buffer.alloc(200_000, "["),
    Buffer.alloc(100_000, '{"a":'),
    Buffer.alloc(500, 0x9b),
  ];
  return {
    ...{ name: "transport", every: 100, samples: [rawFrame("/a", message), json, json, cbor, cbor, ...bombs] },
    read: async (bytes, random) => {
      const came = new Promise<void>((resolve) => {
        arrived = resolve;
      });
      bridge.sendFrame(random() < 0.5 ? bytes : bytes.toString("latin1"));
      bridge.sendFrame(sentinel);
      await came;
    },
  };
}

const SENTINEL = "/sentinel";

export async function fuzzTargets(files: {
  readonly mcap: Buffer;
  readonly manifest: Buffer;
  readonly folder: string;
}): Promise<Target[]> {
  const types = await realMessages();
  return [
    ...[frameTarget(types), splitterTarget(types), decodeTarget(types), schemaTarget(types), encoderTarget(types)],
    ...[lz4Target(), recordsTarget(), headerTarget(), msgpackTarget()],
    ...[manifestTarget(files.manifest), mcapTarget(files.mcap, files.folder), await transportTarget(types)],
  ];
}
