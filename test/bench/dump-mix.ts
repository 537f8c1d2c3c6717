/**
 * A mix as a file, for peers of other languages: per topic `topic\ntype\n` and its definition, each with a u32le length
 * before it, then per message of eight stretches `u32le topic | u32le length | bytes`. Begins with the number of topics.
 *
 * Usage: dump-mix.ts camera|sensors FILE
 */
import { writeFileSync } from "node:fs";
import { type MixName, openMix, stretchOf } from "./robot-streams.ts";

const [name = "camera", path = ""] = process.argv.slice(2);
const mix = await openMix(name as MixName);
const u32 = (value: number) => Buffer.from(new Uint32Array([value]).buffer);
const text = (value: string) => Buffer.concat([u32(Buffer.byteLength(value)), Buffer.from(value)]);
const messages = Array.from({ length: 8 }, (_, index) => stretchOf(mix, 0.2, index)).flat();
writeFileSync(
  path,
  Buffer.concat([
    u32(mix.length),
    ...mix.flatMap(({ topic, schemaName, schemaText }) => [text(topic), text(schemaName), text(schemaText)]),
    ...messages.flatMap(({ stream, payload }) => [u32(mix.indexOf(stream)), u32(payload.length), payload]),
  ]),
);
