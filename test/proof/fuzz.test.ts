/** The short form of `npm run proof -- fuzz`. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ROOT } from "../support/child.ts";
import { boundedNode, proveFuzz } from "./fuzz.ts";

test("hostile frames, messages, definitions, chunks and files cost neither the process nor its memory", async () => {
  const result = await proveFuzz({ cases: 1_000_000, seconds: 15, seed: 1 });
  expect(result.problems).toEqual([]);
  for (const count of Object.values(result.cases)) expect(count).toBeGreaterThan(0);
}, 120_000);

test("lz4-napi, which a wrong size kills, is called by the frame code alone, and that gives it sizes of its own", async () => {
  const sources = join(ROOT, "src");
  const callers = readdirSync(sources, { recursive: true, encoding: "utf8" }).filter(
    (name) =>
      name.endsWith(".ts") && /\buncompress\w*\b.*from "lz4-napi"/.test(readFileSync(join(sources, name), "utf8")),
  );
  expect(callers).toEqual(["ring/lz4-frame.ts"]);
  const wrong = `const { compressSync, uncompressSync } = require("lz4-napi"); const block = compressSync(Buffer.alloc(1000));
    block.writeUInt32LE(0xffffffff, 0); try { uncompressSync(block); } catch {}`;
  expect((await boundedNode(["-e", wrong])).code, "the control: it does kill").not.toBe(0);
});
