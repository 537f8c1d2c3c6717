import { readFileSync } from "node:fs";

const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");

/** Of this Lode, as in package.json. */
export const VERSION: string = JSON.parse(text).version;
