/**
 * Finds the definition of a type where the bridge does not bring it: first in the configured folders, then among the
 * bundled common types.
 *
 * Folders are laid out as ROS packages are: `pkg/msg/Type.msg` or `pkg/Type.msg`. Of ROS 2 types that changed between
 * distributions the bundle gives the newest form: put the robot's own .msg file into a folder where that matters.
 * Found text is the type's own, then every type it needs, each after a line of 80 `=` and a line `MSG: pkg/Type`,
 * as rosbag and rosbag2 write it.
 */
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { ros1, ros2galactic, ros2humble, ros2iron, ros2jazzy } from "@foxglove/rosmsg-msgs-common";
import type { Schema } from "../model/channel.ts";
import { Fault } from "../std/fault.ts";
import { isFixedPrimitive, type MessageDefinition } from "./parsed-schema.ts";

const SEPARATOR = "=".repeat(80);
const FILE_BYTES_MAX = 256 * 1024; // a .msg file of more is none
const PART_NAME = /^[A-Za-z]\w*$/; // package and type: nothing that leaves the folder

type TypeName = { readonly pkg: string; readonly type: string };
type BundledFields = MessageDefinition["definitions"];

export class Definitions {
  readonly #folders: readonly string[];
  readonly #bundles: Readonly<Record<1 | 2, ReadonlyMap<string, MessageDefinition>>>;

  private constructor(folders: readonly string[]) {
    this.#folders = folders;
    this.#bundles = {
      1: new Map(Object.entries(ros1)),
      2: new Map(Object.entries({ ...ros2galactic, ...ros2humble, ...ros2iron, ...ros2jazzy })),
    };
  }

  /** Throws `Fault("no_definition_folder")` if a configured folder is not there. */
  static open({ folders }: { readonly folders: readonly string[] }): Definitions {
    for (const folder of folders)
      if (!existsSync(folder) || !statSync(folder).isDirectory())
        throw new Fault(
          "no_definition_folder",
          `The folder of message definitions ${folder} is not there.`,
          "Name a folder that holds pkg/msg/Type.msg files, or remove it from the configuration.",
        );
    return new Definitions(folders);
  }

  /** The full text of `pkg/Type` or `pkg/msg/Type`; undefined if it, or a type it needs, is not known here. */
  find(typeName: string, ros: 1 | 2): string | undefined {
    const root = splitTypeName(typeName);
    if (root === undefined) return undefined;
    const texts = new Map<string, string>();
    const open: TypeName[] = [root];
    for (let next = open.shift(); next !== undefined; next = open.shift()) {
      const key = `${next.pkg}/${next.type}`;
      if (texts.has(key)) continue;
      const text = this.#ownText(next, ros);
      if (text === undefined) return undefined;
      texts.set(key, text);
      open.push(...neededTypes(text, next.pkg, ros));
    }
    return [...texts].map(([key, text], index) => (index === 0 ? text : `${SEPARATOR}\nMSG: ${key}\n${text}`)).join("");
  }

  /** A schema in MCAP's terms. `text`: what the bridge brought, if anything; `schema.text` is "" if nothing is known. */
  schema(typeName: string, ros: 1 | 2, text: string | undefined): Schema {
    const name = splitTypeName(typeName);
    const encoding = ros === 1 ? "ros1msg" : "ros2msg";
    const known = text ?? this.find(typeName, ros) ?? "";
    if (name === undefined) return { name: typeName, encoding, text: known };
    return { name: `${name.pkg}/${ros === 1 ? "" : "msg/"}${name.type}`, encoding, text: known };
  }

  #ownText(name: TypeName, ros: 1 | 2): string | undefined {
    for (const folder of this.#folders) {
      const text =
        readIfThere(join(folder, name.pkg, "msg", `${name.type}.msg`)) ??
        readIfThere(join(folder, name.pkg, `${name.type}.msg`));
      if (text !== undefined) return text.endsWith("\n") ? text : `${text}\n`;
    }
    const bundled = this.#bundles[ros].get(`${name.pkg}/${name.type}`);
    return bundled === undefined ? undefined : writeFields(bundled.definitions, ros);
  }
}

function readIfThere(path: string): string | undefined {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat?.isFile() === true && stat.size <= FILE_BYTES_MAX ? readFileSync(path, "utf8") : undefined;
}

function splitTypeName(name: string): TypeName | undefined {
  const [pkg, middle, last] = name.split("/");
  const type = last ?? middle;
  const isWellFormed = last === undefined || middle === "msg";
  if (pkg === undefined || type === undefined || !isWellFormed) return undefined;
  return PART_NAME.test(pkg) && PART_NAME.test(type) ? { pkg, type } : undefined;
}

const ROS_PRIMITIVES = new Set(["string", "wstring", "byte", "char"]);

function neededTypes(text: string, pkg: string, ros: 1 | 2): TypeName[] {
  return text.split("\n").flatMap((line) => {
    const base = /^\s*([A-Za-z][\w/]*)/.exec(line)?.[1];
    if (base === undefined || ROS_PRIMITIVES.has(base) || isPrimitive(base, ros)) return [];
    const full = base.includes("/") ? base : base === "Header" ? "std_msgs/Header" : `${pkg}/${base}`;
    const name = splitTypeName(full);
    return name === undefined ? [] : [name];
  });
}

function isPrimitive(base: string, ros: 1 | 2): boolean {
  return isFixedPrimitive(base) && (ros === 1 || (base !== "time" && base !== "duration"));
}

/** The bundle holds parsed fields; ROS 2 has no primitive times, so those get their types' names back. */
function writeFields(fields: BundledFields, ros: 1 | 2): string {
  return fields.map((field) => `${writeField(field, ros)}\n`).join("");
}

function writeField(field: BundledFields[number], ros: 1 | 2): string {
  const { name, isConstant, valueText, defaultValue, arrayLength, arrayUpperBound, upperBound, isArray } = field;
  const base = ros === 2 ? (ROS2_TIMES[field.type] ?? field.type) : field.type;
  if (isConstant === true) return `${base} ${name}=${valueText ?? ""}`;
  const text = upperBound === undefined ? base : `${base}<=${upperBound}`;
  const bound = arrayLength ?? (arrayUpperBound === undefined ? "" : `<=${arrayUpperBound}`);
  const array = isArray === true ? `[${bound}]` : "";
  return `${text}${array} ${name}${defaultValue === undefined ? "" : ` ${writeValue(defaultValue)}`}`;
}

function writeValue(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(writeValue).join(", ")}]`;
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}

const ROS2_TIMES: Readonly<Record<string, string>> = {
  time: "builtin_interfaces/Time",
  duration: "builtin_interfaces/Duration",
};
