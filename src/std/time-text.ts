/** Times and durations as people type them, and as screens show them. */
import { Fault } from "./fault.ts";

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `500ms`, `30s`, `1.5h`, `2d` → milliseconds. Throws `Fault("bad_duration")`. */
export function parseDurationMs(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text.trim());
  const unitMs = UNIT_MS[match?.[2] ?? ""];
  if (match?.[1] === undefined || unitMs === undefined)
    throw new Fault(
      "bad_duration",
      `"${text}" is not a duration.`,
      "Write a number and a unit: 500ms, 30s, 5m, 2h, 1d.",
    );
  return Number(match[1]) * unitMs;
}

/** RFC 3339, `-10m` (before now), `now`, or nanoseconds since the epoch → ns. Throws `Fault("bad_time")`. */
export function parseTimeNs(text: string, nowNs: bigint): bigint {
  const trimmed = text.trim();
  if (trimmed === "now") return nowNs;
  if (/^\d{15,20}$/.test(trimmed)) return BigInt(trimmed);
  if (trimmed.startsWith("-")) return nowNs - BigInt(Math.round(parseDurationMs(trimmed.slice(1)) * 1e6));
  const ms = /^\d{4}-\d\d-\d\dT/.test(trimmed) ? Date.parse(trimmed) : Number.NaN;
  if (Number.isNaN(ms))
    throw new Fault(
      "bad_time",
      `"${text}" is not a time.`,
      "Write RFC 3339 (2026-03-01T14:03:00Z), -10m, now, or ns since 1970.",
    );
  return BigInt(ms) * 1_000_000n;
}

/** RFC 3339 in UTC with milliseconds. */
export function formatTime(ns: bigint): string {
  return new Date(Number(ns / 1_000_000n)).toISOString();
}

/** `850ms`, `12.3s`, `4m 10s`, `3h 5m`, `2d 4h`. */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)}ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)}s`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)}m ${Math.floor((ms % 60_000) / 1000)}s`;
  if (ms < 86_400_000) return `${Math.floor(ms / 3_600_000)}h ${Math.floor((ms % 3_600_000) / 60_000)}m`;
  return `${Math.floor(ms / 86_400_000)}d ${Math.floor((ms % 86_400_000) / 3_600_000)}h`;
}

/** `812 B`, `4.1 kB`, `22.3 MB` (decimal, as disks and links are sold). */
export function formatBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? Math.round(value) : value.toFixed(value < 10 ? 1 : 0)} ${units[unit]}`;
}
