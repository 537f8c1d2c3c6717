/**
 * The one translation from our names to the wire's: camelCase → snake_case, and an instant `startNs: bigint`
 * → `start_time` in RFC 3339 with nanoseconds (64-bit numbers do not survive JSON). Other bigints become numbers
 * where they are exact, else text. `undefined` is left out.
 */
export function toWire<T>(value: T): Wire<T> {
  return convert(value) as Wire<T>;
}

/** The wire's form of a type of ours. */
export type Wire<T> = T extends bigint
  ? number | string
  : T extends readonly (infer Item)[]
    ? readonly Wire<Item>[]
    : T extends object
      ? {
          readonly [Key in keyof T & string as WireKey<Key, T[Key]>]: IsInstant<Key, T[Key]> extends true
            ? InstantText<T[Key]>
            : Wire<T[Key]>;
        }
      : T;

type IsInstant<Key extends string, Value> = Key extends `${string}Ns`
  ? [Value] extends [bigint | undefined]
    ? true
    : false
  : false;
type InstantText<Value> = undefined extends Value ? string | undefined : string;
type WireKey<Key extends string, Value> =
  IsInstant<Key, Value> extends true
    ? Key extends `${infer Base}Ns`
      ? `${SnakeCase<Base>}_time`
      : never
    : SnakeCase<Key>;
type SnakeCase<Text extends string> = Text extends `${infer Head}${infer Tail}`
  ? `${Head extends Lowercase<Head> ? Head : `_${Lowercase<Head>}`}${SnakeCase<Tail>}`
  : Text;

function convert(value: unknown): unknown {
  if (typeof value === "bigint") return bigintToWire(value);
  if (value instanceof Map) return convert(Object.fromEntries(value));
  if (Array.isArray(value) || value instanceof Set) return [...value].map(convert);
  if (typeof value !== "object" || value === null) return Number.isNaN(value) ? null : value;
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined);
  return Object.fromEntries(entries.map(([key, inner]) => entryToWire(key, inner)));
}

/** Maps whose keys are other people's: they stay as they are. */
const FOREIGN_KEYS = new Set(["labels", "values"]);

function entryToWire(key: string, value: unknown): [string, unknown] {
  if (FOREIGN_KEYS.has(key)) return [key, value];
  if (typeof value === "bigint" && key.endsWith("Ns"))
    return [`${snakeCase(key.slice(0, -2))}_time`, formatTimeNs(value)];
  // A key that is not a name of ours (a topic, a label) stays as it is.
  return [/^[a-z][A-Za-z0-9]*$/.test(key) ? snakeCase(key) : key, convert(value)];
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function bigintToWire(value: bigint): number | string {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value.toString();
}

const NS_PER_S = 1_000_000_000n;

/** RFC 3339 in UTC with all nine digits; of a pre-roll that reaches before 1970, too. */
export function formatTimeNs(ns: bigint): string {
  const nanos = ((ns % NS_PER_S) + NS_PER_S) % NS_PER_S;
  const seconds = (ns - nanos) / NS_PER_S;
  const fraction = nanos.toString().padStart(9, "0");
  return `${new Date(Number(seconds) * 1000).toISOString().slice(0, 19)}.${fraction}Z`;
}
