/**
 * The manifest: what an episode is, which batches it has, what is complete and what is missing.
 *
 * JSON, snake_case, instants in RFC 3339 with nanoseconds. The `meta` batch is a manifest of the whole episode with
 * its previews; every MCAP batch carries one as the attachment `manifest.json` that lists that batch alone, without
 * size and hash, which a file cannot say of itself.
 */
import { z } from "zod";
import type { FileAccounting } from "../model/accounting.ts";
import type { BatchKind } from "../model/batch.ts";
import type { ClockWords } from "../model/boot-clock.ts";
import { type Episode, EVIDENCE_KINDS, UNSAID_TOPIC } from "../model/episode.ts";
import type { OperatingHours } from "../model/operating-hours.ts";
import { TOPIC_ROLES } from "../model/operation.ts";
import { describeError, Fault } from "../std/fault.ts";
import { formatTimeNs, toWire } from "../std/wire.ts";

const MANIFEST_FORMAT = "lode-manifest-1";
export const MANIFEST_NAME = "manifest.json";

export type ManifestRobot = {
  readonly id: string;
  readonly site: string;
  readonly embodiment: string;
  readonly labels: Readonly<Record<string, string>>;
};

export type ManifestChannel = {
  readonly topic: string;
  readonly schemaName: string;
  readonly messageEncoding: string;
  readonly messages: number;
};

export type ManifestBatch = {
  readonly id: string;
  readonly kind: BatchKind;
  readonly index: number;
  readonly mediaType: string;
  /** undefined in the batch's own file. */
  readonly sizeBytes: number | undefined;
  /** Lower-case hex; undefined in the batch's own file. */
  readonly sha256: string | undefined;
  readonly startNs: bigint;
  readonly endNs: bigint;
  readonly channels: readonly ManifestChannel[];
};

export type ManifestPreview = {
  readonly topic: string;
  readonly logNs: bigint;
  /** What of the episode it shows. */
  readonly moment: "before" | "at" | "after" | "end";
  readonly mediaType: "image/jpeg";
  readonly base64: string;
};

export type Manifest = {
  readonly robot: ManifestRobot;
  /** Of the software that wrote it. */
  readonly lodeVersion: string;
  readonly createdNs: bigint;
  readonly episode: Episode;
  /** Of the episode's boot, as known when this was written: its times are log_time. undefined: older than format 2. */
  readonly clock?: ClockWords | undefined;
  /** Of each topic in the episode's boot, when this was written. undefined: older than format 2. */
  readonly counters?: FileAccounting["counters"] | undefined;
  /** Of its robot and site, when this was written. undefined: older than this field, or never counted. */
  readonly hours?: OperatingHours | undefined;
  /** Of a `meta` batch: every MCAP batch. Of an MCAP batch: itself. */
  readonly batches: readonly ManifestBatch[];
  readonly previews: readonly ManifestPreview[];
};

export function formatManifest(manifest: Manifest): string {
  return JSON.stringify({ format: MANIFEST_FORMAT, ...toWire(manifest) });
}

/** Throws `Fault("bad_manifest")`. Unknown fields are left out: a later version may have more. */
export function parseManifest(text: string): Manifest {
  try {
    return manifestFromWire.parse(JSON.parse(text));
  } catch (error) {
    const reason = error instanceof z.ZodError ? z.prettifyError(error) : describeError(error);
    throw new Fault("bad_manifest", `The manifest cannot be read: ${reason}`, "It is kept as it came.", error);
  }
}

/** The instant of `formatTimeNs`, back. */
function parseTimeNs(text: string): bigint {
  const match = /^(.{19})\.(\d{9})Z$/.exec(text);
  return BigInt(Date.parse(`${match?.[1]}Z`)) * 1_000_000n + BigInt(match?.[2] ?? 0);
}

const instant = z
  .string()
  .regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$/)
  .refine((text) => formatTimeNs(parseTimeNs(text)) === text, "not a time")
  .transform(parseTimeNs);
const count = z.number().int().min(0);
const words = z.record(z.string(), z.string());
const values = z.record(z.string(), z.union([z.number(), z.string(), z.boolean()]));
const outcome = z.enum(["recovered", "failed", "operator_took_over", "succeeded", "unknown"]);

const segment = z
  .object({
    kind: z.enum(["before", "failure", "recovery", "after"]),
    attempt: count.optional(),
    start_time: instant,
    end_time: instant,
  })
  .transform(({ kind, attempt, start_time, end_time }) => ({ kind, attempt, startNs: start_time, endNs: end_time }));

const firing = z
  .object({
    rule: z.string(),
    rule_version: z.string().optional(),
    detector: z.string().optional(),
    topic: z.string(),
    at_time: instant,
    values,
  })
  .transform(({ rule, rule_version, detector, topic, at_time, values }) => ({
    ...{ rule, ruleVersion: rule_version, detector, topic, atNs: at_time, values },
  }));

const evidence = z
  .object({ kind: z.enum(EVIDENCE_KINDS), outcome, rule: z.string(), at_time: instant, values })
  .transform(({ at_time, ...same }) => ({ ...same, atNs: at_time }));

const link = z
  .object({ id: z.string(), kind: z.enum(["same_failure", "continues"]), after_ms: z.number() })
  .transform(({ after_ms, ...same }) => ({ ...same, afterMs: after_ms }));

const gap = z
  .object({ start_time: instant, end_time: instant, reason: z.string() })
  .transform(({ start_time, end_time, reason }) => ({ startNs: start_time, endNs: end_time, reason }));

const clockStep = z
  .object({ at_time: instant, step_ms: z.number() })
  .transform(({ at_time, step_ms }) => ({ atNs: at_time, stepMs: step_ms }));

const completeness = z
  .object({
    topic: z.string(),
    class_name: z.string(),
    pre_roll_ms: z.number().optional(),
    post_roll_ms: z.number().optional(),
    messages: count,
    bytes: count,
    dropped: z.record(z.string(), count),
    gaps: z.array(gap),
    coverage: z.enum(["full", "baseline", "latched", "none", "not_recorded"]),
    // Optional: manifests of earlier versions have none of these.
    role: z.enum(TOPIC_ROLES).default(UNSAID_TOPIC.role),
    asked_pre_roll_ms: z.number().default(0),
    asked_post_roll_ms: z.number().default(0),
    longest_gap_ms: z.number().optional(),
    clock_steps: z.array(clockStep).default([]),
    is_on_demand: z.boolean().default(false),
    on_demand_start_ms: z.number().optional(),
    cut_to: z.enum(["message", "chunk"]).optional(),
  })
  .transform(({ class_name, pre_roll_ms, post_roll_ms, asked_pre_roll_ms, asked_post_roll_ms, ...same }) => {
    const { longest_gap_ms, clock_steps, is_on_demand, on_demand_start_ms, cut_to, ...rest } = same;
    return {
      ...{ ...rest, className: class_name, preRollMs: pre_roll_ms, postRollMs: post_roll_ms },
      ...{ askedPreRollMs: asked_pre_roll_ms, askedPostRollMs: asked_post_roll_ms, longestGapMs: longest_gap_ms },
      ...{ clockSteps: clock_steps, isOnDemand: is_on_demand, onDemandStartMs: on_demand_start_ms },
      cutTo: cut_to,
    };
  });

const operation = z
  .object({
    ...{ task_type: z.string(), robot: z.string(), site: z.string(), embodiment: z.string() },
    software: z.array(z.object({ name: z.string(), version: z.string() })),
    physics: z
      .object({
        kind: z.enum(["physical", "simulated"]),
        basis: z.enum(["configured", "signs", "presumed"]),
        signs: z.array(z.string()),
        is_contradicted: z.boolean(),
      })
      .transform(({ is_contradicted, ...same }) => ({ ...same, isContradicted: is_contradicted })),
  })
  .transform(({ task_type, ...same }) => ({ ...same, taskType: task_type }));

const remark = z
  .object({
    ...{ at_time: instant, author: z.string(), labels: words },
    ...{ note: z.string().optional(), outcome: outcome.optional() },
  })
  .transform(({ at_time, note, outcome: said, ...same }) => ({ ...same, atNs: at_time, note, outcome: said }));

const shortfall = z
  .object({
    ...{ reason: z.string(), topics: z.array(z.string()), count: count.optional() },
    ...{ is_hint: z.boolean(), words: z.string() },
  })
  .transform(({ is_hint, count: known, ...same }) => ({ ...same, count: known, isHint: is_hint }));

const episodeFromWire = z
  .object({
    id: z.string(),
    boot_id: z.string(),
    kind: z.enum(["failure", "span", "sample", "manual"]),
    rule: z.string(),
    priority: z.number(),
    start_time: instant,
    end_time: instant,
    outcome,
    // Optional: manifests of earlier versions have none of these.
    evidence: z.array(evidence).default([]),
    time_to_recover_ms: z.number().optional(),
    linked_to: link.optional(),
    topics: z.array(z.string()).default(["**"]),
    on_demand: z.array(z.string()).default(["**"]),
    attempts: count,
    firings: z.array(firing),
    segments: z.array(segment),
    labels: words,
    note: z.string(),
    is_interrupted: z.boolean(),
    operation: operation.optional(),
    remarks: z.array(remark).default([]),
    completeness: z.array(completeness),
    is_complete: z.boolean().optional(),
    shortfalls: z.array(shortfall).default([]),
  })
  .transform(({ boot_id, start_time, end_time, is_interrupted, time_to_recover_ms, linked_to, ...same }) => {
    const { is_complete, on_demand, operation: known, ...rest } = same;
    return {
      onDemand: on_demand,
      ...{ ...rest, bootId: boot_id, startNs: start_time, endNs: end_time, isInterrupted: is_interrupted },
      ...{ timeToRecoverMs: time_to_recover_ms, linkedTo: linked_to, operation: known, isComplete: is_complete },
    };
  });

const number = z.number();
const byReason = z.record(z.string(), number);
const counters = z
  .object({
    ...{ topic: z.string(), received: number, received_bytes: number, in_memory: number, in_memory_bytes: number },
    ...{ stored: number, stored_bytes: number, reduced: number, reduced_bytes: number, evicted: number },
    ...{ evicted_bytes: number, dropped: byReason, dropped_bytes: byReason },
  })
  .transform(({ received_bytes, in_memory, in_memory_bytes, stored_bytes, reduced_bytes, evicted_bytes, ...same }) => {
    const { dropped_bytes: droppedBytes, ...rest } = same;
    const bytes = { receivedBytes: received_bytes, inMemoryBytes: in_memory_bytes, storedBytes: stored_bytes };
    return {
      ...rest,
      ...bytes,
      inMemory: in_memory,
      reducedBytes: reduced_bytes,
      evictedBytes: evicted_bytes,
      droppedBytes,
    };
  });

const clock = z
  .object({
    boot_id: z.string(),
    state: z.enum(["synchronised", "set", "unverified", "impossible"]),
    correction_ns: z
      .string()
      .regex(/^-?\d{1,19}$/)
      .optional(),
    steps: z.array(
      z
        .object({ kind: z.enum(["set", "suspend"]), at_time: instant, step_ms: z.number() })
        .transform(({ kind, at_time, step_ms }) => ({ kind, atNs: at_time, stepMs: step_ms })),
    ),
  })
  .transform(({ boot_id, state, correction_ns, steps }) => ({
    ...{ bootId: boot_id, state, correctionNs: correction_ns, steps },
  }));

const batch = z
  .object({
    id: z.string(),
    kind: z.enum(["meta", "light", "heavy"]),
    index: count,
    media_type: z.string(),
    size_bytes: count.optional(),
    sha256: z
      .string()
      .regex(/^[0-9a-f]{64}$/)
      .optional(),
    start_time: instant,
    end_time: instant,
    channels: z.array(
      z
        .object({ topic: z.string(), schema_name: z.string(), message_encoding: z.string(), messages: count })
        .transform(({ schema_name, message_encoding, ...same }) => ({
          ...{ ...same, schemaName: schema_name, messageEncoding: message_encoding },
        })),
    ),
  })
  .transform(({ media_type, size_bytes, sha256, start_time, end_time, ...same }) => ({
    ...{ ...same, mediaType: media_type, sizeBytes: size_bytes, sha256, startNs: start_time, endNs: end_time },
  }));

const hours = z
  .object({
    ...{ robot: z.string(), site: z.string(), on_ms: count, connected_ms: count, watched_ms: count, moving_ms: count },
    ...{ tasks: count, failures: count, attempts: count, recoveries: count, unrecovered: count, interventions: count },
    failures_by_rule: z.array(z.object({ rule: z.string(), count })),
  })
  .transform(({ on_ms, connected_ms, watched_ms, moving_ms, failures_by_rule, ...same }) => ({
    ...{ ...same, onMs: on_ms, connectedMs: connected_ms, watchedMs: watched_ms, movingMs: moving_ms },
    failuresByRule: failures_by_rule,
  }));

const preview = z
  .object({
    topic: z.string(),
    log_time: instant,
    moment: z.enum(["before", "at", "after", "end"]),
    media_type: z.literal("image/jpeg"),
    base64: z.string(),
  })
  .transform(({ log_time, media_type, ...same }) => ({ ...same, logNs: log_time, mediaType: media_type }));

const manifestFromWire = z
  .object({
    format: z.literal(MANIFEST_FORMAT),
    robot: z.object({ id: z.string(), site: z.string(), embodiment: z.string(), labels: words }),
    lode_version: z.string(),
    created_time: instant,
    episode: episodeFromWire,
    clock: clock.optional(),
    counters: z.array(counters).optional(),
    hours: hours.optional(),
    batches: z.array(batch),
    previews: z.array(preview),
  })
  .transform(
    ({ lode_version, created_time, format: _, ...same }): Manifest => ({
      ...{ ...same, lodeVersion: lode_version, createdNs: created_time },
    }),
  );
