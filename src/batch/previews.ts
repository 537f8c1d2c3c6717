/**
 * A few small pictures for the manifest: before, at and after the failure, and the end.
 *
 * A camera topic's JPEGs are copied as they are while they are small, and shrunk otherwise; raw images of the common
 * encodings become JPEGs. A picture that cannot be made is left out: the manifest never waits for it.
 */
import sharp from "sharp";
import type { Channel } from "../model/channel.ts";
import type { Episode } from "../model/episode.ts";
import type { ManifestPreview } from "../protocol/manifest.ts";
import type { WindowChunk } from "../ring/window.ts";

/** Fully decodes a message of a channel; throws if it cannot. */
export type DecodeMessage = (channel: Channel, message: Uint8Array) => unknown;
/** The bytes of one message of a chunk. */
export type ReadMessage = (chunk: WindowChunk, offset: number) => Uint8Array;

const WIDTH_MAX = 320;
/** A manifest goes first, over any link. */
const COPIED_BYTES_MAX = 40_000;
const PREVIEWS_MAX = 6;
const JPEG_TYPES = /^(sensor_msgs|foxglove_msgs)\/(msg\/)?CompressedImage$/;
const RAW_TYPES = /^sensor_msgs\/(msg\/)?Image$/;
const CHANNELS_BY_ENCODING: Readonly<Record<string, 1 | 3 | 4>> = { mono8: 1, rgb8: 3, bgr8: 3, rgba8: 4, bgra8: 4 };

type Moment = ManifestPreview["moment"];
type Frame = { readonly chunk: WindowChunk; readonly offset: number; readonly timeNs: bigint };

export async function makePreviews(
  episode: Episode,
  chunks: readonly WindowChunk[],
  channels: ReadonlyMap<number, Channel>,
  read: ReadMessage,
  decode: DecodeMessage,
): Promise<ManifestPreview[]> {
  const previews: ManifestPreview[] = [];
  for (const { channel, moment, frame } of choose(episode, chunks, channels)) {
    const image = await pictureOf(() => decode(channel, read(frame.chunk, frame.offset)));
    if (image === undefined) continue;
    const base64 = image.toString("base64");
    previews.push({ topic: channel.topic, logNs: frame.timeNs, moment, mediaType: "image/jpeg", base64 });
  }
  return previews;
}

type Choice = { readonly channel: Channel; readonly moment: Moment; readonly frame: Frame };

/** All moments of the first camera, then the firing as the others saw it; JPEG topics before raw ones. */
function choose(
  episode: Episode,
  chunks: readonly WindowChunk[],
  channels: ReadonlyMap<number, Channel>,
): readonly Choice[] {
  const cameras = [JPEG_TYPES, RAW_TYPES].flatMap((types) =>
    [...channels.values()]
      .filter(({ schema, isLocal }) => types.test(schema.name) && !isLocal)
      .map((channel) => ({ channel, frames: framesOf(channel, chunks) }))
      .filter(({ frames }) => frames.length > 0)
      .toSorted((a, b) => (a.channel.topic < b.channel.topic ? -1 : 1)),
  );
  return cameras
    .flatMap(({ channel, frames }, index) =>
      momentsOf(episode)
        .filter(([moment]) => index === 0 || moment === "at")
        .map(([moment, atNs]) => ({ channel, moment, frame: nearest(frames, atNs) })),
    )
    .slice(0, PREVIEWS_MAX);
}

function momentsOf(episode: Episode): readonly (readonly [Moment, bigint])[] {
  const atNs = episode.firings[0]?.atNs ?? episode.startNs;
  return [
    ["before", (episode.startNs + atNs) / 2n],
    ["at", atNs],
    ["after", (atNs + episode.endNs) / 2n],
    ["end", episode.endNs],
  ];
}

function framesOf(channel: Channel, chunks: readonly WindowChunk[]): Frame[] {
  return chunks.flatMap((chunk) =>
    [...(chunk.index.get(channel.id) ?? [])].map(([timeNs, offset]) => ({ chunk, offset, timeNs })),
  );
}

function nearest(frames: readonly Frame[], atNs: bigint): Frame {
  const distance = ({ timeNs }: Frame): bigint => (timeNs > atNs ? timeNs - atNs : atNs - timeNs);
  return frames.reduce((best, frame) => (distance(frame) < distance(best) ? frame : best));
}

async function pictureOf(decode: () => unknown): Promise<Buffer | undefined> {
  try {
    const image = decode();
    const bytes = bytesOf(field(image, "data"));
    if (bytes === undefined) return undefined;
    const isJpeg = bytes[0] === 0xff && bytes[1] === 0xd8;
    if (isJpeg && bytes.length <= COPIED_BYTES_MAX) return bytes;
    const pixels = isJpeg ? sharp(bytes) : rawPicture(image, bytes);
    return await pixels?.resize({ width: WIDTH_MAX, withoutEnlargement: true }).jpeg({ quality: 70 }).toBuffer();
  } catch {
    return undefined; // a damaged picture costs its preview, nothing else; the message itself is in the batch
  }
}

function rawPicture(image: unknown, bytes: Buffer): ReturnType<typeof sharp> | undefined {
  const [width, height, step] = ["width", "height", "step"].map((name) => Number(field(image, name)));
  const encoding = String(field(image, "encoding"));
  const channels = CHANNELS_BY_ENCODING[encoding];
  if (width === undefined || height === undefined || channels === undefined || step !== width * channels)
    return undefined;
  if (bytes.length < step * height) return undefined;
  const picture = sharp(bytes.subarray(0, step * height), { raw: { width, height, channels } });
  if (!encoding.startsWith("bgr")) return picture;
  // sharp knows RGB only: the swap of the outer channels is a recombination with a permutation.
  return picture.removeAlpha().recomb([
    [0, 0, 1],
    [0, 1, 0],
    [1, 0, 0],
  ]);
}

function bytesOf(value: unknown): Buffer | undefined {
  return value instanceof Uint8Array ? Buffer.from(value.buffer, value.byteOffset, value.byteLength) : undefined;
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
}
