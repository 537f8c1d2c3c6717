/**
 * A decoded message as cells of a table, by column.
 *
 * `a.b.c` for nested fields, `a[3]` for elements; where a message has an array `name` of strings, the arrays beside
 * it of the same length are named by it: `position.elbow`. Bytes and long arrays have no place in a table.
 */

/** A lidar scan has 360 to 1,081 ranges; an image or a cost map has no business in a CSV. */
const ELEMENTS_MAX = 2048;

export type Row = Map<string, string>;
/** Says why a field is left out of the table. */
export type OnSkipped = (column: string, reason: string) => void;

export function flatten(message: unknown, onSkipped: OnSkipped): Row {
  const row: Row = new Map();
  flattenInto(row, "", message, onSkipped);
  return row;
}

function flattenInto(row: Row, column: string, value: unknown, onSkipped: OnSkipped): void {
  if (typeof value !== "object" || value === null) {
    if (value !== undefined && value !== null) row.set(column === "" ? "value" : column, String(value));
  } else if (value instanceof Uint8Array) onSkipped(column, "bytes");
  else if (isArray(value)) flattenArray(row, column, value, undefined, onSkipped);
  else flattenObject(row, column, value, onSkipped);
}

function flattenObject(row: Row, column: string, object: object, onSkipped: OnSkipped): void {
  const names = namesOf(object);
  const inner = (key: string): string => (column === "" ? key : `${column}.${key}`);
  for (const [key, value] of Object.entries(object)) {
    const isNamed = names !== undefined && isArray(value) && value.length === names.length;
    if (isNamed && key === "name") continue;
    if (isNamed) flattenArray(row, inner(key), value, names, onSkipped);
    else flattenInto(row, inner(key), value, onSkipped);
  }
}

function flattenArray(
  row: Row,
  column: string,
  array: ArrayLike<unknown>,
  names: readonly string[] | undefined,
  onSkipped: OnSkipped,
): void {
  const isTable = array.length <= ELEMENTS_MAX;
  if (!isTable) onSkipped(column, `more than ${ELEMENTS_MAX} elements`);
  for (let index = 0; isTable && index < array.length; index += 1) {
    const name = names?.[index];
    flattenInto(row, name === undefined ? `${column}[${index}]` : `${column}.${name}`, array[index], onSkipped);
  }
}

/** As in JointState: distinct names, so that they can be columns. */
function namesOf(object: object): readonly string[] | undefined {
  const names: unknown = Reflect.get(object, "name");
  if (!Array.isArray(names) || names.length === 0) return undefined;
  const texts = names.filter((name) => typeof name === "string" && name !== "");
  return new Set(texts).size === names.length ? texts : undefined;
}

function isArray(value: unknown): value is ArrayLike<unknown> & object {
  return Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView));
}
