/**
 * The one translation from our names to the wire's: camelCase → snake_case, and an instant `startNs: bigint`
 * → `start_time` in RFC 3339 with nanoseconds (64-bit numbers do not survive JSON). Other bigints become numbers
 * where they are exact, else text. `undefined` is left out.
 */
export function toWire(value: unknown): unknown {
  if (typeof value === "bigint") return bigintToWire(value);
  if (value instanceof Map) return toWire(Object.fromEntries(value));
  if (Array.isArray(value) || value instanceof Set) return [...value].map(toWire);
  if (typeof value !== "object" || value === null) return Number.isNaN(value) ? null : value;
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined);
  return Object.fromEntries(entries.map(([key, inner]) => entryToWire(key, inner)));
}

function entryToWire(key: string, value: unknown): [string, unknown] {
  if (typeof value === "bigint" && key.endsWith("Ns"))
    return [`${snakeCase(key.slice(0, -2))}_time`, formatTimeNs(value)];
  // A key that is not a name of ours (a topic, a label) stays as it is.
  return [/^[a-z][A-Za-z0-9]*$/.test(key) ? snakeCase(key) : key, toWire(value)];
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function bigintToWire(value: bigint): number | string {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value.toString();
}

/** RFC 3339 in UTC with all nine digits. */
export function formatTimeNs(ns: bigint): string {
  const seconds = ns / 1_000_000_000n;
  const fraction = (ns % 1_000_000_000n).toString().padStart(9, "0");
  return `${new Date(Number(seconds) * 1000).toISOString().slice(0, 19)}.${fraction}Z`;
}
