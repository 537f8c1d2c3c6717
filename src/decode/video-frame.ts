/**
 * Tells key frames of inter-coded video from the frames that build on others, without decoding a picture.
 *
 * Looks at the unit headers before the first slice of each H.264 or H.265 access unit in Annex B form (ITU-T H.264
 * table 7-1: 5 is a slice of an IDR picture; H.265 table 7-1: 16–23 are those of random access points), or at the
 * encoder's own flag where the message has one. A stream of another form (JPEG, length-prefixed units) is `other`:
 * each of its frames is taken to stand on its own.
 */
import type { WireEncoding } from "./cursor.ts";
import { Layouts, Location } from "./field-location.ts";
import { planPath } from "./field-plan.ts";
import type { ParsedSchema } from "./parsed-schema.ts";

/** `key`: decoding can begin here. `parameters`: no picture, but what the next key frame needs. `delta`: neither. */
export type FrameKind = "key" | "parameters" | "delta" | "other";
export type FrameReader = (message: Uint8Array) => FrameKind;

type Codec = "h264" | "h265" | undefined;
type Unit = "key" | "delta" | "parameters" | "prefix";

const TYPES = [
  {
    name: /^(foxglove_msgs\/(msg\/)?CompressedVideo|sensor_msgs\/(msg\/)?CompressedImage)$/,
    codec: "format",
    flags: "",
  },
  { name: /^ffmpeg_image_transport_msgs\/(msg\/)?FFMPEGPacket$/, codec: "encoding", flags: "flags" },
];
/** libavcodec's AV_PKT_FLAG_KEY. */
const FLAG_KEY = 1;
/** Parameter sets and SEI are far smaller; a frame without a slice in so many bytes is nothing to begin with. */
const SCANNED_BYTES_MAX = 64 * 1024;

/** undefined: no type that carries video. */
export function compileVideoFrame(parsed: ParsedSchema, encoding: WireEncoding): FrameReader | undefined {
  const type = TYPES.find(({ name }) => name.test(parsed.name));
  if (type === undefined) return undefined;
  const layouts = new Layouts(parsed, encoding);
  const codec = locate(layouts, type.codec);
  const content = locate(layouts, "data");
  if (codec === undefined || content === undefined) return undefined;
  const flags = type.flags === "" ? undefined : locate(layouts, type.flags);
  return (message) => {
    if (flags !== undefined) {
      const offset = flags.find(message);
      return offset >= 0 && ((message[offset] ?? 0) & FLAG_KEY) !== 0 ? "key" : "delta";
    }
    const name = codecOf(message, stretchAt(codec, message));
    const { start, end } = name === undefined ? NOTHING : stretchAt(content, message);
    return name === undefined ? "other" : frameKind(message, start, end, name);
  };
}

/** What an access unit between the offsets is. */
function frameKind(bytes: Uint8Array, start: number, end: number, codec: "h264" | "h265"): FrameKind {
  const unitOf = codec === "h264" ? unitOfH264 : unitOfH265;
  if (!startsAnnexB(bytes, start, end)) return "other";
  let kind: FrameKind = "delta";
  const scannedEnd = Math.min(end, start + SCANNED_BYTES_MAX);
  for (let at = start; at + 3 < scannedEnd; ) {
    const third = bytes[at + 2] ?? 0;
    if (third !== 1 || bytes[at] !== 0 || bytes[at + 1] !== 0) {
      at += third > 1 ? 3 : 1;
      continue;
    }
    const unit = unitOf(bytes[at + 3] ?? 0);
    if (unit === "key" || unit === "delta") return unit;
    if (unit === "parameters") kind = "parameters";
    at += 4;
  }
  return kind;
}

function unitOfH264(header: number): Unit {
  const type = header & 0x1f;
  if (type === 5) return "key";
  if (type >= 1 && type <= 4) return "delta";
  return type === 7 || type === 8 ? "parameters" : "prefix";
}

function unitOfH265(header: number): Unit {
  const type = (header >> 1) & 0x3f;
  if (type >= 16 && type <= 23) return "key";
  if (type < 32) return "delta";
  return type <= 34 ? "parameters" : "prefix";
}

/** A start code, with one leading zero at most. */
function startsAnnexB(bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start < 5 || bytes[start] !== 0 || bytes[start + 1] !== 0) return false;
  return bytes[start + 2] === 1 || (bytes[start + 2] === 0 && bytes[start + 3] === 1);
}

type Stretch = { readonly start: number; readonly end: number };
const NOTHING: Stretch = { start: 0, end: 0 };

function locate(layouts: Layouts, path: string): Location | undefined {
  const plan = planPath(layouts.parsed, path);
  return "problem" in plan ? undefined : new Location(plan, layouts);
}

/** The bytes of the string or byte array at the location, without its count. */
function stretchAt(location: Location, message: Uint8Array): Stretch {
  const found = location.find(message);
  const { view, encoding, isLittleEndian } = location.layouts;
  const countOffset = encoding === "cdr" ? (found + 3) & ~3 : found;
  if (found < 0 || countOffset + 4 > message.byteLength) return NOTHING;
  const start = countOffset + 4;
  const end = start + view.getUint32(countOffset, isLittleEndian);
  return end > message.byteLength ? NOTHING : { start, end };
}

/** `h264`, `H264`, `avc1`, `h265`, `hevc`, and longer forms of those ("h264; yuv420p"). */
function codecOf(message: Uint8Array, { start, end }: Stretch): Codec {
  if (end - start < 3 || (message[start] ?? 0) === 0x6a) return undefined; // "jpeg", the usual one
  const name = Buffer.from(message.buffer, message.byteOffset + start, Math.min(end - start, 16)).toString("latin1");
  if (/^(h\.?264|avc)/i.test(name)) return "h264";
  return /^(h\.?265|hevc)/i.test(name) ? "h265" : undefined;
}
