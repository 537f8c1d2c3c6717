/**
 * Every key of the configuration file with its default, range and meaning: the one place that knows them.
 *
 * snake_case with units in the names, as on disk; stages get their own options built from this in `daemon/`.
 * A duration is milliseconds or text (`30s`), a size is bytes or text (`64GB`, decimal).
 */
import { hostname } from "node:os";
import { z } from "zod";
import { TOPIC_ROLES } from "../model/operation.ts";
import { parseDurationMs } from "../std/time-text.ts";

const BYTE_UNITS: Readonly<Record<string, number>> = { B: 1, kB: 1e3, KB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 };
const BYTES_TEXT = /^(\d+(?:\.\d+)?)\s*(B|kB|KB|MB|GB|TB)$/;

const bytes = z
  .union([z.number().int().min(0), z.string().regex(BYTES_TEXT, 'not a size such as "64GB"')])
  .transform((value) => {
    if (typeof value === "number") return value;
    const match = BYTES_TEXT.exec(value);
    return Math.round(Number(match?.[1]) * (BYTE_UNITS[match?.[2] ?? "B"] ?? 1));
  });

const durationMs = z
  .union([z.number().min(0), z.string().regex(/^\d+(\.\d+)?(ms|s|m|h|d)$/, 'not a duration such as "30s"')])
  .transform((value) => (typeof value === "number" ? value : parseDurationMs(value)));

const COMMIT_MS_MAX = 1000;

const identifier = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, "must be 1 to 64 of A-Z a-z 0-9 . _ -");

/** One value class of topics. */
const topicClass = z.strictObject({
  rank: z
    .number()
    .int()
    .min(0)
    .max(100)
    .default(50)
    .describe("0 is worth most; under pressure the highest rank goes first"),
  tier: z
    .enum(["disk", "memory"])
    .default("disk")
    .describe("disk: every message; memory: full rate in memory, baseline on disk"),
  baseline_hz: z
    .number()
    .min(0)
    .max(1000)
    .default(1)
    .describe("messages a second and topic on disk while nothing is wrong"),
  memory_ms: durationMs.default(30_000).describe("how far back the memory tier reaches at full rate"),
  memory_bytes_max: bytes.default(256e6).describe("the memory tier's budget for this class"),
  disk_ms_max: durationMs.default(0).describe("age at which the disk tier drops it; 0: only the ring's own bound"),
  disk_bytes_max: bytes.default(0).describe("the disk tier's budget for this class; 0: only the ring's own bound"),
  disk_share_max: z
    .number()
    .min(0)
    .max(1)
    .default(1)
    .describe("what it keeps of a full ring; beyond it, it goes first, before any other class"),
  queue_length: z.number().int().min(1).max(10_000).default(200).describe("rosbridge queue_length on subscribing"),
});

const assignment = z.strictObject({
  match: z.array(z.string()).default(["**"]).describe("topic globs"),
  types: z.array(z.string()).default(["**"]).describe("type globs, written pkg/Type"),
  class: z.string().optional().describe("the class these topics get"),
  on_demand: z.boolean().optional().describe("subscribed only while an episode is open"),
  privacy: z
    .enum(["upload", "local", "never"])
    .optional()
    .describe("local: never leaves the robot; never: not recorded"),
  role: z
    .enum(TOPIC_ROLES)
    .optional()
    .describe(
      "what it is to who learns from it: a command, something sensed, a person's device, or context; default: by its name and type",
    ),
});

const source = z.strictObject({
  kind: z.enum(["rosbridge"]).default("rosbridge").describe("what the robot speaks"),
  url: z
    .string()
    .regex(/^wss?:\/\//, "must start with ws:// or wss://")
    .default("ws://127.0.0.1:9090")
    .describe("the bridge's WebSocket"),
  bridge: z
    .enum(["auto", "rosbridge_suite", "ros2-web-bridge"])
    .default("auto")
    .describe("ros2-web-bridge has no rosapi and must be named; the others are asked what they are"),
  types: z.record(z.string(), z.string()).default({}).describe("topic: type, for bridges without rosapi"),
  ping_interval_ms: durationMs.default(5_000).describe("a bridge that leaves two pings unanswered is taken for dead"),
  frame_bytes_max: bytes.default(64e6).describe("a larger frame is dropped and counted"),
});

const receiver = z.strictObject({
  url: z
    .string()
    .regex(/^https?:\/\//, "must start with http:// or https://")
    .describe("the receiver's address"),
  token_file: z.string().describe("file that holds this robot's token"),
  public_keys: z
    .array(z.string())
    .min(1)
    .max(2)
    .describe("pinned receipt keys (base64 of the raw Ed25519 key), at most two"),
});

const budget = z.strictObject({
  daily_bytes_max: bytes.default(0).describe("bytes sent a day at most on such a link; 0: no bound"),
});

const DEFAULT_CLASSES = {
  light: { rank: 0, tier: "disk", disk_share_max: 0.7, queue_length: 200 },
  camera: {
    ...{ rank: 50, tier: "memory", baseline_hz: 1, disk_share_max: 0.2, queue_length: 8 },
    ...{ memory_ms: 30_000, memory_bytes_max: 256e6 },
  },
  cloud: {
    ...{ rank: 60, tier: "memory", baseline_hz: 0.5, disk_share_max: 0.1, queue_length: 4 },
    ...{ memory_ms: 20_000, memory_bytes_max: 192e6 },
  },
  debug: { rank: 80, tier: "memory", baseline_hz: 0, memory_ms: 15_000, memory_bytes_max: 64e6, queue_length: 8 },
} as const;

const DEFAULT_ASSIGN = [
  {
    types: ["sensor_msgs/{Image,CompressedImage}", "foxglove_msgs/{CompressedImage,CompressedVideo,RawImage}"],
    class: "camera",
  },
  { types: ["theora_image_transport/Packet", "ffmpeg_image_transport_msgs/FFMPEGPacket"], class: "camera" },
  { types: ["sensor_msgs/{PointCloud2,PointCloud}", "nav_msgs/OccupancyGrid", "**/*Costmap*"], class: "cloud" },
  { match: ["/**/{theora,compressedDepth}"], types: ["**"], class: "debug" },
];

export const configSchema = z.strictObject({
  robot: z
    .strictObject({
      id: identifier
        .default(
          () =>
            hostname()
              .replace(/[^A-Za-z0-9._-]/g, "-")
              .slice(0, 64) || "robot",
        )
        .describe("the robot's name, at the receiver too; default: the host's name"),
      site: z.string().default("").describe("where it works; goes into every manifest"),
      embodiment: z.string().default("").describe("what kind of body: arm, mobile_base, humanoid …"),
      labels: z.record(z.string(), z.string()).default({}).describe("words of yours that go into every manifest"),
      task_type: z.string().default("").describe("what it does here; goes into every episode's operation record"),
      label_topics: z
        .record(z.string(), z.string().regex(/^\/[^:]+(:[^:]+)?$/, 'not a topic such as "/task/state:type"'))
        .default({})
        .describe(
          "label: topic, or topic:field (else its field data); its last text becomes that label of an episode that opens. The labels task_type and site take the place of the configured ones",
        ),
      software: z
        .record(z.string(), z.string())
        .default({})
        .describe("name: version, of what else runs on it; goes into every episode's operation record"),
      physics: z
        .enum(["auto", "physical", "simulated"])
        .default("auto")
        .describe("whether it is a robot in the world; auto: by /clock, use_sim_time and topics of simulators"),
    })
    .prefault({}),
  sources: z.array(source).min(1).max(1, "one source for now").prefault([{}]),
  topics: z
    .strictObject({
      include: z.array(z.string()).default(["**"]).describe("globs of the topics that are recorded"),
      exclude: z.array(z.string()).default([]).describe("globs of topics that are not, whatever include says"),
      msg_folders: z
        .array(z.string())
        .default([])
        .describe("folders of .msg files for types the bridge cannot describe"),
      classes: z
        .record(identifier, topicClass)
        .prefault({})
        .describe("added to, or changing, light, camera, cloud and debug"),
      assign: z.array(assignment).default([]).describe("first match wins, before the built-in assignment by type"),
    })
    .prefault({}),
  ring: z
    .strictObject({
      folder: z
        .string()
        .default(() => process.env.STATE_DIRECTORY ?? "/var/lib/lode")
        .describe("where everything is kept; systemd's STATE_DIRECTORY comes first"),
      bytes_max: bytes
        .default(32e9)
        .describe("what the ring takes on disk at most, database and segment files together"),
      age_ms_max: durationMs.prefault("14d").describe("older chunks go, whatever the room"),
      free_bytes_min: bytes.default(2e9).describe("free space on the file system that the ring leaves alone"),
      wear_bytes_per_day_max: bytes
        .default(50e9)
        .describe(
          "budget of bytes that everybody together writes to the disk under the folder; over it Lode warns, and records on; 0: none. 64 GB of eMMC or SSD (3,000 erase cycles, half of them lost to the disk's own housekeeping) last five years at 50 GB a day; for an SD card of that size (500 cycles) set 10GB",
        ),
      commit_ms: durationMs
        .refine((ms) => ms <= COMMIT_MS_MAX, `must be at most ${COMMIT_MS_MAX} ms: a power cut costs no more`)
        .default(800)
        .meta({
          description:
            "how often what has gathered is written and committed: a power cut costs this and the commit itself",
          maximum: COMMIT_MS_MAX,
        }),
      in_flight_bytes_max: bytes
        .default(144e6)
        .describe("chunks on their way to the store thread; beyond it messages are dropped and counted"),
    })
    .prefault({}),
  rules: z
    .strictObject({
      files: z.array(z.string()).default([]).describe("rule files, beside those in rules.d"),
      shipped: z.boolean().default(true).describe("arm the rules of config/rules/default.yaml"),
      disable: z.array(z.string()).default([]).describe("names of rules to leave unarmed"),
      firings_per_hour_max: z
        .number()
        .int()
        .min(1)
        .default(120)
        .describe(
          "of one rule: so many may come at once, and so many an hour; those beyond are passed over and counted",
        ),
      cpu_percent_max: z
        .number()
        .positive()
        .max(100)
        .default(5)
        .describe(
          "of a core, for one rule; it may use up a second of it at once, and one that costs more rests meanwhile",
        ),
    })
    .prefault({}),
  upload: z
    .strictObject({
      receivers: z.array(receiver).max(1, "one receiver for now").default([]),
      windows: z
        .array(z.string())
        .default([])
        .describe("cron expressions of the minutes in which sending is allowed; empty: always"),
      metered_interfaces: z
        .array(z.string())
        .default(["wwan*", "usb*", "ppp*"])
        .describe("interface globs that cost money"),
      free: budget.prefault({}),
      metered: budget.prefault({ daily_bytes_max: 50e6 }),
    })
    .prefault({}),
  receiver: z
    .strictObject({
      listen: z
        .string()
        .regex(/^.+:\d{1,5}$/, 'must be host:port, such as "0.0.0.0:8480"')
        .default("127.0.0.1:8480")
        .describe("host:port"),
      folder: z
        .string()
        .default(() => process.env.STATE_DIRECTORY ?? "/var/lib/lode-receiver")
        .describe("blobs, catalog and key"),
      batch_bytes_max: bytes.default(1e9).describe("a larger batch is refused"),
      free_bytes_min: bytes.default(1e9).describe("free space that uploads leave alone; below it they are deferred"),
    })
    .prefault({}),
  telemetry: z
    .strictObject({
      log_level: z
        .enum(["debug", "info", "warn", "error", "silent"])
        .default("info")
        .describe("what goes to the journal"),
      socket: z
        .string()
        .default(() => `${process.env.RUNTIME_DIRECTORY ?? "/run/lode"}/control.sock`)
        .describe("the control socket"),
    })
    .prefault({}),
});

export type Config = z.output<typeof configSchema>;
export type AssignmentConfig = z.output<typeof assignment>;

/** The built-in assignment by type, used after the configuration's own. */
export const defaultAssignments: readonly AssignmentConfig[] = DEFAULT_ASSIGN.map((entry) => assignment.parse(entry));

/** The built-in classes with the configuration's laid over them, key by key. */
export function resolveClasses(
  own: Config["topics"]["classes"],
  given: Readonly<Record<string, object>>,
): Config["topics"]["classes"] {
  const names = new Set([...Object.keys(DEFAULT_CLASSES), ...Object.keys(own)]);
  const defaults: Readonly<Record<string, object>> = DEFAULT_CLASSES;
  return Object.fromEntries([...names].map((name) => [name, topicClass.parse({ ...defaults[name], ...given[name] })]));
}
