/**
 * Reads an MCAP file by the letter of the specification (mcap.dev/spec), with an LZ4 and a CRC-32 of its own, and
 * throws on the first byte that is not as it says: lengths, CRCs, order of records, every offset of every index.
 */
import { readFileSync } from "node:fs";
import { decompress } from "lz4js";

type SpecMessage = {
  readonly channelId: number;
  readonly sequence: number;
  readonly logTimeNs: bigint;
  readonly publishTimeNs: bigint;
  readonly bytes: Buffer;
};
type SpecSchema = {
  readonly id: number;
  readonly name: string;
  readonly encoding: string;
  readonly text: string;
};
type SpecChannel = {
  readonly id: number;
  readonly schemaId: number;
  readonly topic: string;
  readonly messageEncoding: string;
};

export type SpecFile = {
  readonly profile: string;
  readonly library: string;
  readonly schemas: ReadonlyMap<number, SpecSchema>;
  readonly channels: ReadonlyMap<number, SpecChannel>;
  /** In the order in which they lie in the file. */
  readonly messages: readonly SpecMessage[];
  readonly chunks: readonly { readonly startNs: bigint; readonly endNs: bigint; readonly compression: string }[];
  readonly attachments: ReadonlyMap<string, { readonly mediaType: string; readonly content: Buffer }>;
  readonly metadata: ReadonlyMap<string, ReadonlyMap<string, string>>;
};

const MAGIC = Buffer.from([0x89, 0x4d, 0x43, 0x41, 0x50, 0x30, 0x0d, 0x0a]);
const OP = {
  ...{ header: 0x01, footer: 0x02, schema: 0x03, channel: 0x04, message: 0x05, chunk: 0x06, messageIndex: 0x07 },
  ...{ chunkIndex: 0x08, attachment: 0x09, attachmentIndex: 0x0a, statistics: 0x0b, metadata: 0x0c },
  ...{ metadataIndex: 0x0d, summaryOffset: 0x0e, dataEnd: 0x0f },
};

/** Reflected, polynomial 0xEDB88320, bit by bit: slow and plainly right. */
function crc32(bytes: Uint8Array): number {
  let crc = 0xffff_ffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb8_8320 : 0);
  }
  return ~crc >>> 0;
}

class Fields {
  offset = 0;
  readonly bytes: Buffer;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  take(length: number): Buffer {
    check(length >= 0 && this.offset + length <= this.bytes.length, "a field ends within its record");
    this.offset += length;
    return this.bytes.subarray(this.offset - length, this.offset);
  }

  u8 = (): number => this.take(1).readUInt8();
  u16 = (): number => this.take(2).readUInt16LE();
  u32 = (): number => this.take(4).readUInt32LE();
  u64 = (): bigint => this.take(8).readBigUInt64LE();
  text = (): string => this.take(this.u32()).toString("utf8");

  map<Key, Value>(key: () => Key, value: () => Value): Map<Key, Value> {
    const inner = this.u32();
    const end = this.offset + inner;
    const map = new Map<Key, Value>();
    while (this.offset < end) map.set(key(), value());
    check(this.offset === end, "a map has exactly its length");
    return map;
  }

  done(): void {
    check(this.offset === this.bytes.length, "a record has no bytes left over");
  }
}

type SpecRecord = { readonly op: number; readonly offset: number; readonly length: number; readonly fields: Fields };

function* records(bytes: Buffer, start: number, end: number): Generator<SpecRecord> {
  let offset = start;
  while (offset < end) {
    check(offset + 9 <= end, "a record has its op code and length");
    const content = Number(bytes.readBigUInt64LE(offset + 1));
    check(offset + 9 + content <= end, "a record ends within its section");
    const fields = new Fields(bytes.subarray(offset + 9, offset + 9 + content));
    yield { op: bytes.readUInt8(offset), offset, length: 9 + content, fields };
    offset += 9 + content;
  }
}

type ChunkSeen = {
  readonly offset: number;
  readonly length: number;
  readonly startNs: bigint;
  readonly endNs: bigint;
  readonly compression: string;
  readonly compressedSize: number;
  readonly uncompressedSize: number;
  readonly body: Buffer;
  readonly indexOffsets: Map<number, number>;
  readonly indexed: Map<number, Set<number>>;
  indexLength: number;
};

export function readMcapBySpec(path: string): SpecFile {
  const bytes = readFileSync(path);
  check(bytes.subarray(0, 8).equals(MAGIC) && bytes.subarray(-8).equals(MAGIC), "magic at both ends");
  const footerOffset = bytes.length - 8 - 29;
  const [footer] = [...records(bytes, footerOffset, bytes.length - 8)];
  check(footer?.op === OP.footer && footer.length === 29, "the footer is the last record");
  const [summaryStart, offsetStart] = [Number(footer.fields.u64()), Number(footer.fields.u64())];
  check(crc32(bytes.subarray(summaryStart, bytes.length - 12)) === footer.fields.u32(), "the summary's CRC");
  const data = readDataSection(bytes, summaryStart);
  readSummary(bytes, summaryStart, offsetStart, footerOffset, data);
  return data;
}

type Data = ReturnType<typeof emptyData>;

function emptyData() {
  return {
    profile: "",
    library: "",
    schemas: new Map<number, SpecSchema>(),
    channels: new Map<number, SpecChannel>(),
    messages: [] as SpecMessage[],
    chunks: [] as ChunkSeen[],
    attachments: new Map<string, { mediaType: string; content: Buffer; offset: number; length: number }>(),
    metadata: new Map<string, Map<string, string>>(),
    metadataPlaces: new Map<string, { offset: number; length: number }>(),
  };
}

function readDataSection(bytes: Buffer, end: number): Data {
  const data = emptyData();
  let isEnded = false;
  let isFirst = true;
  for (const record of records(bytes, 8, end)) {
    check(isFirst === (record.op === OP.header), "the header comes first, and once");
    check(!isEnded, "nothing follows DataEnd in the data section");
    isFirst = false;
    if (record.op === OP.dataEnd) {
      check(record.fields.u32() === crc32(bytes.subarray(0, record.offset)), "the data section's CRC");
      isEnded = true;
    } else readDataRecord(record, data);
    record.fields.done();
  }
  check(isEnded, "the data section ends with DataEnd");
  for (const chunk of data.chunks) checkIndexed(chunk);
  return data;
}

function readDataRecord(record: SpecRecord, data: Data): void {
  const { op, fields, offset, length } = record;
  if (op === OP.header) {
    data.profile = fields.text();
    data.library = fields.text();
  } else if (op === OP.schema) readSchema(fields, data.schemas);
  else if (op === OP.channel) readChannel(fields, data);
  else if (op === OP.chunk) readChunk(record, data);
  else if (op === OP.messageIndex) readMessageIndex(record, data);
  else if (op === OP.attachment) {
    const crcEnd = fields.bytes.length - 4;
    fields.take(16);
    const [name, mediaType] = [fields.text(), fields.text()];
    const content = fields.take(Number(fields.u64()));
    check(fields.u32() === crc32(fields.bytes.subarray(0, crcEnd)), "an attachment's CRC");
    data.attachments.set(name, { mediaType, content, offset, length });
  } else if (op === OP.metadata) {
    const name = fields.text();
    data.metadata.set(name, fields.map(fields.text, fields.text));
    data.metadataPlaces.set(name, { offset, length });
  } else throw new Error(`unexpected op code ${op} in the data section`);
}

function readSchema(fields: Fields, schemas: Map<number, SpecSchema>): void {
  const schema = { id: fields.u16(), name: fields.text(), encoding: fields.text() };
  check(schema.id !== 0, "schema id 0 is not used");
  const text = fields.take(fields.u32()).toString("utf8");
  const known = schemas.get(schema.id);
  check(known === undefined || (known.name === schema.name && known.text === text), "a schema id has one schema");
  schemas.set(schema.id, { ...schema, text });
}

function readChannel(fields: Fields, data: Data): void {
  const channel = { id: fields.u16(), schemaId: fields.u16(), topic: fields.text(), messageEncoding: fields.text() };
  fields.map(fields.text, fields.text);
  check(channel.schemaId === 0 || data.schemas.has(channel.schemaId), "a channel's schema comes before it");
  data.channels.set(channel.id, channel);
}

function readChunk({ fields, offset, length }: SpecRecord, data: Data): void {
  const [startNs, endNs] = [fields.u64(), fields.u64()];
  const [uncompressedSize, bodyCrc, compression] = [Number(fields.u64()), fields.u32(), fields.text()];
  const stored = fields.take(Number(fields.u64()));
  check(compression === "lz4" || compression === "", "a well-known chunk compression");
  const body = compression === "" ? stored : Buffer.from(decompress(stored));
  check(body.length === uncompressedSize, "a chunk's uncompressed size");
  check(crc32(body) === bodyCrc, "a chunk's CRC");
  const times: bigint[] = [];
  for (const record of records(body, 0, body.length)) {
    check(record.op === OP.message, "a chunk of ours holds messages only");
    const message = readMessage(record.fields);
    check(data.channels.has(message.channelId), "a message's channel comes before it");
    data.messages.push(message);
    times.push(message.logTimeNs);
  }
  check(startNs === least(times) && endNs === -least(times.map((time) => -time)), "a chunk's times are its messages'");
  data.chunks.push({
    ...{ offset, length, startNs, endNs, compression, compressedSize: stored.length, uncompressedSize, body },
    ...{ indexOffsets: new Map(), indexed: new Map(), indexLength: 0 },
  });
}

function readMessage(fields: Fields): SpecMessage {
  const head = {
    channelId: fields.u16(),
    sequence: fields.u32(),
    logTimeNs: fields.u64(),
    publishTimeNs: fields.u64(),
  };
  return { ...head, bytes: fields.take(fields.bytes.length - fields.offset) };
}

function readMessageIndex({ fields, offset, length }: SpecRecord, data: Data): void {
  const chunk = data.chunks.at(-1);
  check(chunk !== undefined, "a message index follows its chunk");
  const channelId = fields.u16();
  const places = new Set<number>();
  const end = fields.u32() + fields.offset;
  while (fields.offset < end) {
    const [timeNs, place] = [fields.u64(), Number(fields.u64())];
    const [record] = records(chunk.body, place, chunk.body.length);
    check(record?.op === OP.message, "an index offset is that of a message");
    const message = readMessage(record.fields);
    check(message.channelId === channelId && message.logTimeNs === timeNs, "an index names its message");
    places.add(place);
  }
  chunk.indexOffsets.set(channelId, offset);
  chunk.indexed.set(channelId, places);
  chunk.indexLength += length;
}

function checkIndexed(chunk: ChunkSeen): void {
  for (const record of records(chunk.body, 0, chunk.body.length)) {
    const { channelId } = readMessage(record.fields);
    check(chunk.indexed.get(channelId)?.has(record.offset) === true, "every message is in the index");
  }
}

function readSummary(bytes: Buffer, start: number, offsetStart: number, end: number, data: Data): void {
  const groups = new Map<number, { start: number; length: number }>();
  const repeated = emptyData();
  let chunkCount = 0;
  for (const { op, fields, offset, length } of records(bytes, start, offsetStart)) {
    const group = groups.get(op) ?? { start: offset, length: 0 };
    check(group.start + group.length === offset, "records of a kind lie together in the summary");
    groups.set(op, { start: group.start, length: group.length + length });
    if (op === OP.schema) readSchema(fields, repeated.schemas);
    else if (op === OP.channel) readChannel(fields, repeated);
    else if (op === OP.statistics) checkStatistics(fields, data);
    else if (op === OP.chunkIndex) checkChunkIndex(fields, data.chunks[chunkCount++]);
    else if (op === OP.attachmentIndex) checkAttachmentIndex(fields, data);
    else if (op === OP.metadataIndex) {
      const place = { offset: Number(fields.u64()), length: Number(fields.u64()) };
      const known = data.metadataPlaces.get(fields.text());
      check(known?.offset === place.offset && known.length === place.length, "a metadata index leads to its record");
    } else throw new Error(`unexpected op code ${op} in the summary`);
    fields.done();
  }
  check(chunkCount === data.chunks.length, "every chunk has its index in the summary");
  check(JSON.stringify([...repeated.schemas]) === JSON.stringify([...data.schemas]), "the schemas are repeated");
  check(JSON.stringify([...repeated.channels]) === JSON.stringify([...data.channels]), "the channels are repeated");
  for (const { op, fields } of records(bytes, offsetStart, end)) {
    check(op === OP.summaryOffset, "summary offsets follow the summary");
    const group = groups.get(fields.u8());
    check(group?.start === Number(fields.u64()) && group.length === Number(fields.u64()), "a summary offset's group");
    groups.delete([...groups].find(([, one]) => one === group)?.[0] ?? 0);
    fields.done();
  }
  check(groups.size === 0, "every group of the summary has its offset");
}

function checkStatistics(fields: Fields, data: Data): void {
  check(Number(fields.u64()) === data.messages.length, "statistics: messages");
  check(fields.u16() === data.schemas.size, "statistics: schemas");
  check(fields.u32() === data.channels.size, "statistics: channels");
  check(fields.u32() === data.attachments.size, "statistics: attachments");
  check(fields.u32() === data.metadata.size, "statistics: metadata");
  check(fields.u32() === data.chunks.length, "statistics: chunks");
  const times = data.messages.map(({ logTimeNs }) => logTimeNs);
  check(fields.u64() === least(times) && fields.u64() === -least(times.map((time) => -time)), "statistics: times");
  const counts = fields.map(fields.u16, fields.u64);
  for (const { channelId } of data.messages) counts.set(channelId, (counts.get(channelId) ?? 0n) - 1n);
  check(
    [...counts.values()].every((rest) => rest === 0n),
    "statistics: messages per channel",
  );
}

function checkChunkIndex(fields: Fields, chunk: ChunkSeen | undefined): void {
  check(chunk !== undefined, "a chunk index has its chunk");
  check(fields.u64() === chunk.startNs && fields.u64() === chunk.endNs, "a chunk index's times");
  check(Number(fields.u64()) === chunk.offset && Number(fields.u64()) === chunk.length, "a chunk index's place");
  const offsets = fields.map(fields.u16, () => Number(fields.u64()));
  check(offsets.size === chunk.indexOffsets.size, "a chunk index lists its message indexes");
  for (const [id, offset] of offsets) check(chunk.indexOffsets.get(id) === offset, "a message index's offset");
  check(Number(fields.u64()) === chunk.indexLength, "a chunk's message indexes' length");
  check(fields.text() === chunk.compression, "a chunk index's compression");
  check(Number(fields.u64()) === chunk.compressedSize, "a chunk index's compressed size");
  check(Number(fields.u64()) === chunk.uncompressedSize, "a chunk index's uncompressed size");
}

function checkAttachmentIndex(fields: Fields, data: Data): void {
  const [offset, length] = [Number(fields.u64()), Number(fields.u64())];
  fields.take(16);
  const [size, name, mediaType] = [Number(fields.u64()), fields.text(), fields.text()];
  const known = data.attachments.get(name);
  check(known?.offset === offset && known.length === length, "an attachment index leads to its record");
  check(known.content.length === size && known.mediaType === mediaType, "an attachment index says what it is");
}

function least(times: readonly bigint[]): bigint {
  return times.toSorted((a, b) => Number(a - b))[0] ?? 0n;
}

function check(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(`not as the specification says: ${what}`);
}
