/**
 * Draws docs/demo.png, the picture at the top of the README, from what the demo's receiver has got.
 *
 *   node test/scripts/make-readme-picture.ts [--folder DIR] [--out docs/demo.png]
 *
 * `DIR` is the folder of a finished `lode demo --folder DIR`; without it a demo is run first. Frames, curve, segments
 * and numbers come out of the received files; the receipts are verified again before they are spoken of.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import Database from "better-sqlite3";
import sharp, { type OverlayOptions } from "sharp";
import { z } from "zod";
import { ChannelReader } from "../../src/decode/channel-reader.ts";
import type { Channel } from "../../src/model/channel.ts";
import { type Manifest, parseManifest } from "../../src/protocol/manifest.ts";
import { pinKeys, receiptFromWire, verifyReceipt } from "../../src/protocol/receipt.ts";
import { assert } from "../../src/std/assert.ts";
import { openWithLibrary } from "../support/mcap-library-reader.ts";

const WIDTH = 1600;
const HEIGHT = 930;
const MARGIN = 48;
const FRAME = { count: 5, gap: 16, top: 148, width: 288, height: 216, insetWidth: 96, insetHeight: 72 };
const PLOT = { left: 104, right: WIDTH - 104, top: 472, bottom: 806 };
const COLOURS = {
  ...{ background: "#0e1117", text: "#e6e9ef", quiet: "#8b93a3", line: "#2a3140", curve: "#f5a65b", force: "#6fb1ff" },
  ...{ before: "#7c8798", failure: "#ff5c5c", recovery: "#f2c14e", after: "#5fd38d" },
} as const;
const SCENE = "/camera/scene/image/compressed";
const WRIST = "/camera/wrist/image/compressed";
const GRIPPER = "/gripper/state";

const { values: options } = parseArgs({
  options: { folder: { type: "string" }, out: { type: "string", default: "docs/demo.png" } },
});

type Sample = { readonly atNs: bigint; readonly message: unknown };
type Picture = {
  readonly manifest: Manifest;
  readonly samples: ReadonlyMap<string, readonly Sample[]>;
  readonly receipts: number;
  readonly files: readonly { readonly name: string; readonly sizeBytes: number; readonly sha256: string }[];
};

const imageSchema = z.object({ data: z.instanceof(Uint8Array) });
const gripperSchema = z.object({ position: z.number(), effort: z.number() });

function runDemo(): string {
  const folder = mkdtempSync(join(tmpdir(), "lode-picture-"));
  const { status } = spawnSync(process.execPath, ["src/cli/start.mjs", "demo", "--folder", folder], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  assert(status === 0, "the demo ended well");
  return folder;
}

/** The first episode that the receiver has. */
function findEpisode(folder: string): string {
  const received = join(folder, "receiver/received");
  const [robot = ""] = readdirSync(received);
  const [episode] = readdirSync(join(received, robot)).sort();
  assert(episode !== undefined, "an episode was received");
  return join(received, robot, episode);
}

async function readSamples(paths: readonly string[]): Promise<Map<string, Sample[]>> {
  const samples = new Map<string, Sample[]>();
  const decoder = new ChannelReader();
  for (const path of paths) {
    const reader = await openWithLibrary(path);
    const channels = new Map<number, Channel>();
    for (const { id, topic, schemaId } of reader.channelsById.values()) {
      const schema = reader.schemasById.get(schemaId);
      if (schema === undefined || ![SCENE, WRIST, GRIPPER].includes(topic)) continue;
      const text = Buffer.from(schema.data).toString();
      const plain = { className: "", isLocal: false, isLatched: false, messageEncoding: "cdr" } as const;
      channels.set(id, { id, topic, schema: { name: schema.name, encoding: "ros2msg", text }, ...plain });
    }
    for await (const { channelId, logTime, data } of reader.readMessages({ validateCrcs: true })) {
      const channel = channels.get(channelId);
      if (channel === undefined) continue;
      const list = samples.get(channel.topic) ?? [];
      list.push({ atNs: logTime, message: decoder.decode(channel, data) });
      samples.set(channel.topic, list);
    }
  }
  return samples;
}

/** How many of the files have a receipt on the robot that the pinned key signed. */
function countReceipts(folder: string, hashes: readonly string[]): number {
  const config = z
    .object({ upload: z.object({ receivers: z.array(z.object({ public_keys: z.array(z.string()) })) }) })
    .parse(JSON.parse(readFileSync(join(folder, "lode.yaml"), "utf8")));
  const keys = pinKeys(config.upload.receivers.flatMap((receiver) => receiver.public_keys));
  const journal = new Database(join(folder, "robot/journal.db"), { readonly: true });
  const rows = z.array(z.object({ receipt: z.string() })).parse(journal.prepare("SELECT receipt FROM receipt").all());
  journal.close();
  const receipts = rows.map((row) => receiptFromWire(JSON.parse(row.receipt)));
  return hashes.filter((hash) =>
    receipts.some((receipt) => receipt?.sha256 === hash && verifyReceipt(receipt, keys) === true),
  ).length;
}

async function readPicture(folder: string): Promise<Picture> {
  const episode = findEpisode(folder);
  const manifest = parseManifest(readFileSync(join(episode, "manifest.json"), "utf8"));
  const files = readdirSync(episode)
    .sort()
    .map((name) => {
      const bytes = readFileSync(join(episode, name));
      return { name, sizeBytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
    });
  const paths = files.filter(({ name }) => name.endsWith(".mcap")).map(({ name }) => join(episode, name));
  const receipts = countReceipts(
    folder,
    files.map(({ sha256 }) => sha256),
  );
  return { manifest, files, receipts, samples: await readSamples(paths) };
}

/* Drawing */

function text(x: number, y: number, content: string, size: number, colour: string, more = ""): string {
  const escaped = content.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  return `<text x="${x}" y="${y}" font-size="${size}" fill="${colour}" ${more}>${escaped}</text>`;
}

const MIDDLE = 'text-anchor="middle"';
const END = 'text-anchor="end"';
const BOLD = 'font-weight="bold"';
const MONO = 'font-family="DejaVu Sans Mono, monospace"';

function nearest(samples: readonly Sample[], atNs: bigint): Sample {
  const distance = ({ atNs: at }: Sample): number => Math.abs(Number(at - atNs));
  return samples.reduce((best, sample) => (distance(sample) < distance(best) ? sample : best));
}

type Moment = { readonly atNs: bigint; readonly kind: keyof typeof COLOURS; readonly caption: string };

/** Five moments that tell the story: held, lost, looked for, grasped again, put down. */
function chooseMoments({ episode }: Manifest): Moment[] {
  const at = (kind: string) => {
    const segment = episode.segments.find((other) => other.kind === kind);
    assert(segment !== undefined, `the episode has a segment ${kind}`);
    return segment;
  };
  const firingNs = at("failure").startNs;
  const recovery = at("recovery");
  const share = (segment: { startNs: bigint; endNs: bigint }, percent: bigint) =>
    segment.startNs + ((segment.endNs - segment.startNs) * percent) / 100n;
  return [
    { atNs: firingNs - 500_000_000n, kind: "before", caption: "holds the cup" },
    { atNs: firingNs + 120_000_000n, kind: "failure", caption: "loses it" },
    { atNs: share(recovery, 4n), kind: "recovery", caption: "goes back for it" },
    { atNs: share(recovery, 46n), kind: "recovery", caption: "grips firmer, lifts" },
    { atNs: share(at("after"), 30n), kind: "after", caption: "has put it down" },
  ];
}

const frameLeft = (index: number) =>
  MARGIN + index * (FRAME.width + (WIDTH - 2 * MARGIN - FRAME.count * FRAME.width) / (FRAME.count - 1));

async function drawFrames({ samples }: Picture, moments: readonly Moment[]): Promise<OverlayOptions[]> {
  const overlays = moments.map(async ({ atNs }, index): Promise<OverlayOptions[]> => {
    const image = (topic: string) => imageSchema.parse(nearest(samples.get(topic) ?? [], atNs).message).data;
    const left = Math.round(frameLeft(index));
    const scene = await sharp(image(SCENE)).resize(FRAME.width, FRAME.height).toBuffer();
    const wrist = await sharp(image(WRIST))
      .resize(FRAME.insetWidth, FRAME.insetHeight)
      .extend({ top: 2, right: 2, background: COLOURS.background })
      .toBuffer();
    return [
      { input: scene, left, top: FRAME.top },
      {
        input: wrist,
        left,
        top: FRAME.top + FRAME.height - FRAME.insetHeight - 2,
      },
    ];
  });
  return (await Promise.all(overlays)).flat();
}

function drawSvg(picture: Picture, moments: readonly Moment[]): string {
  const { episode } = picture.manifest;
  const firingNs = episode.firings[0]?.atNs ?? episode.startNs;
  const x = (atNs: bigint): number =>
    PLOT.left + (Number(atNs - episode.startNs) / Number(episode.endNs - episode.startNs)) * (PLOT.right - PLOT.left);
  const parts = [
    header(picture),
    ...moments.map((moment, index) => frameMarks(moment, index, firingNs, x(moment.atNs))),
    ...segments(picture.manifest, x),
    ...axes(picture.manifest, firingNs, x),
    ...curves(picture, x),
    ...firings(picture.manifest, x),
    footer(picture),
  ];
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}"
    font-family="DejaVu Sans, Verdana, sans-serif">${parts.join("\n")}</svg>`;
}

function header({ manifest: { episode, robot } }: Picture): string {
  const second = `One failure as it arrived at the receiver: what was before it, the failure, and the robot's own way out, labelled.`;
  const start = new Date(Number(episode.startNs / 1_000_000n)).toISOString().slice(0, 19).replace("T", " ");
  return [
    `<text x="${MARGIN}" y="72" font-size="38" font-weight="bold" fill="${COLOURS.text}">${episode.rule}
      <tspan fill="${COLOURS.quiet}" font-weight="normal">→</tspan>
      <tspan fill="${COLOURS.after}">${episode.outcome}</tspan>
      <tspan fill="${COLOURS.quiet}" font-weight="normal" font-size="26">on attempt ${episode.attempts}</tspan></text>`,
    text(MARGIN, 112, second, 19, COLOURS.quiet),
    text(WIDTH - MARGIN, 66, robot.id, 22, COLOURS.text, `${END} ${BOLD}`),
    text(WIDTH - MARGIN, 92, `${start} UTC`, 16, COLOURS.quiet, END),
  ].join("");
}

function frameMarks({ atNs, kind, caption }: Moment, index: number, firingNs: bigint, plotX: number): string {
  const left = frameLeft(index);
  const bottom = FRAME.top + FRAME.height;
  const seconds = Number(atNs - firingNs) / 1e9;
  const offset = `${seconds < 0 ? "−" : "+"}${Math.abs(seconds).toFixed(1)} s`;
  const middle = left + FRAME.width / 2;
  return [
    `<rect x="${left}" y="${bottom}" width="${FRAME.width}" height="5" fill="${COLOURS[kind]}"/>`,
    text(left, bottom + 30, caption, 18, COLOURS.text),
    text(left + FRAME.width, bottom + 30, offset, 17, COLOURS[kind], `${END} ${MONO}`),
    `<path d="M${middle},${bottom + 44} C${middle},${bottom + 74} ${plotX},${bottom + 58} ${plotX},${PLOT.top - 2}"
      fill="none" stroke="${COLOURS[kind]}" stroke-width="1.5" stroke-opacity="0.65"/>`,
    `<circle cx="${plotX}" cy="${PLOT.top}" r="4.5" fill="${COLOURS[kind]}"/>`,
  ].join("");
}

function segments({ episode }: Manifest, x: (atNs: bigint) => number): string[] {
  return episode.segments.map(({ kind, attempt, startNs, endNs }) => {
    const [left, right] = [x(startNs), x(endNs)];
    const name = attempt === undefined ? kind : `${kind} ${attempt}`;
    const length = `${(Number(endNs - startNs) / 1e9).toFixed(1)} s`;
    return [
      `<rect x="${left}" y="${PLOT.top}" width="${right - left}" height="${PLOT.bottom - PLOT.top}"
        fill="${COLOURS[kind]}" fill-opacity="${kind === "before" ? 0.06 : 0.13}"/>`,
      `<rect x="${left + 1}" y="${PLOT.bottom - 32}" width="${right - left - 2}" height="32" fill="${COLOURS[kind]}"
        fill-opacity="0.25"/>`,
      text(left + 12, PLOT.bottom - 10, name, 17, COLOURS[kind], BOLD),
      text(right - 12, PLOT.bottom - 10, length, 16, COLOURS[kind], `${END} ${MONO}`),
    ].join("");
  });
}

const GAP_MM_MAX = 100;
const FORCE_N_MAX = 40;
const plotY = (share: number): number => PLOT.bottom - 44 - share * (PLOT.bottom - PLOT.top - 60);

function axes({ episode }: Manifest, firingNs: bigint, x: (atNs: bigint) => number): string[] {
  const gaps = [0, 30, 60, 90].map((mm) => {
    const y = plotY(mm / GAP_MM_MAX);
    return `<line x1="${PLOT.left}" x2="${PLOT.right}" y1="${y}" y2="${y}" stroke="${COLOURS.line}"/>
      ${text(PLOT.left - 12, y + 6, String(mm), 16, COLOURS.curve, `${END} ${MONO}`)}
      ${text(PLOT.right + 12, y + 6, String((mm / GAP_MM_MAX) * FORCE_N_MAX), 16, COLOURS.force, MONO)}`;
  });
  const first = -Math.floor(Number(firingNs - episode.startNs) / 1e9);
  const last = Math.floor(Number(episode.endNs - firingNs) / 1e9);
  const ticks = Array.from({ length: last - first + 1 }, (_, index) => first + index).map((second) => {
    const at = x(firingNs + BigInt(second) * 1_000_000_000n);
    const isNamed = second % 5 === 0;
    const label = second === 0 ? "firing" : `${second < 0 ? "−" : "+"}${Math.abs(second)} s`;
    const tick = `<line x1="${at}" x2="${at}" y1="${PLOT.bottom}" y2="${PLOT.bottom + (isNamed ? 9 : 5)}"
      stroke="${COLOURS.quiet}"/>`;
    return isNamed ? tick + text(at, PLOT.bottom + 30, label, 16, COLOURS.quiet, `${MIDDLE} ${MONO}`) : tick;
  });
  const y = (PLOT.top + PLOT.bottom) / 2 - 20;
  const turned = (at: number, degrees: number) => `transform="rotate(${degrees} ${at} ${y})" ${MIDDLE}`;
  const [left, right] = [MARGIN - 2, WIDTH - MARGIN + 2];
  return [
    ...gaps,
    ...ticks,
    text(left, y, "gap between the fingers, mm", 16, COLOURS.curve, turned(left, -90)),
    text(right, y, "force of each finger, N", 16, COLOURS.force, turned(right, 90)),
  ];
}

function curves({ samples, manifest: { episode } }: Picture, x: (atNs: bigint) => number): string[] {
  const points = (samples.get(GRIPPER) ?? [])
    .filter(({ atNs }) => atNs >= episode.startNs && atNs <= episode.endNs)
    .map(({ atNs, message }) => ({ at: x(atNs), ...gripperSchema.parse(message) }));
  const path = (value: (point: (typeof points)[number]) => number): string =>
    points
      .map((point, index) => `${index === 0 ? "M" : "L"}${point.at.toFixed(1)},${plotY(value(point)).toFixed(1)}`)
      .join("");
  const gap = path(({ position }) => (position * 1000) / GAP_MM_MAX);
  const force = path(({ effort }) => Math.min(1, Math.max(0, effort / FORCE_N_MAX)));
  return [
    `<path d="${force}" fill="none" stroke="${COLOURS.force}" stroke-width="2" stroke-opacity="0.85"/>`,
    `<path d="${gap}" fill="none" stroke="${COLOURS.curve}" stroke-width="3.2" stroke-linejoin="round"/>`,
  ];
}

function firings({ episode }: Manifest, x: (atNs: bigint) => number): string[] {
  return episode.firings.map(({ rule, atNs }, index) => {
    const at = x(atNs);
    if (index > 0) {
      const y = plotY(0.76) + 24 * (index - 1);
      return `<circle cx="${at}" cy="${y - 6}" r="5" fill="${COLOURS.failure}"/>${text(at + 11, y - 1, rule, 14, COLOURS.failure)}`;
    }
    const y = plotY(0.47);
    return [
      `<line x1="${at}" x2="${at}" y1="${PLOT.top - 8}" y2="${PLOT.bottom}" stroke="${COLOURS.failure}" stroke-width="2.5"/>`,
      `<rect x="${at - 178}" y="${y}" width="172" height="28" rx="4" fill="${COLOURS.failure}"/>`,
      text(at - 92, y + 20, `${rule} fired`, 16, COLOURS.background, `${MIDDLE} ${BOLD}`),
    ].join("");
  });
}

function footer({ manifest, files, receipts }: Picture): string {
  const { completeness } = manifest.episode;
  const count = (of: (topic: (typeof completeness)[number]) => number) =>
    completeness.reduce((sum, topic) => sum + of(topic), 0);
  const messages = count((topic) => topic.messages)
    .toLocaleString("en")
    .replaceAll(",", " ");
  const dropped = count((topic) => Object.values(topic.dropped).reduce((sum, number) => sum + number, 0));
  const gaps = count((topic) => topic.gaps.length);
  const size = (files.reduce((sum, file) => sum + file.sizeBytes, 0) / 1e6).toFixed(1);
  const complete = `${completeness.length} topics, ${messages} messages · dropped ${dropped} · gaps ${gaps}`;
  const proof = `${files.length} files, ${size} MB · receipts signed and verified: ${receipts} of ${files.length}`;
  const y = HEIGHT - 42;
  return [
    `<line x1="${MARGIN}" x2="${WIDTH - MARGIN}" y1="${y - 34}" y2="${y - 34}" stroke="${COLOURS.line}"/>`,
    `<circle cx="${MARGIN + 7}" cy="${y - 6}" r="7" fill="${COLOURS.after}"/>`,
    text(MARGIN + 26, y, complete, 19, COLOURS.text),
    text(WIDTH - MARGIN, y, proof, 19, COLOURS.text, END),
  ].join("");
}

const picture = await readPicture(options.folder ?? runDemo());
const moments = chooseMoments(picture.manifest);
await sharp({ create: { width: WIDTH, height: HEIGHT, channels: 3, background: COLOURS.background } })
  .composite([
    ...(await drawFrames(picture, moments)),
    { input: Buffer.from(drawSvg(picture, moments)), left: 0, top: 0 },
  ])
  .png({ palette: true, quality: 92, effort: 10 })
  .toFile(options.out);
console.log(options.out);
