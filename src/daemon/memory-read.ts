/**
 * Hands a running daemon's memory tier to a reader in another process, chunk by chunk at the reader's pace.
 *
 * Nothing is kept for the reader: the store lists what it has and then is asked for it again, a few MB at a time, so
 * that a reader that stalls costs nothing. What left memory in between is told as such (ring/memory-stream.ts).
 */
import { realpathSync } from "node:fs";
import { z } from "zod";
import { chunkKey, encodeMemoryChunk, encodeMemoryEnd, type MemoryList } from "../ring/memory-stream.ts";
import { Fault } from "../std/fault.ts";
import type { Thread } from "./thread-call.ts";

export type MemoryQuery = { readonly startNs: bigint; readonly endNs: bigint; readonly topics: readonly string[] };

/** Instants are ns as text: JSON has no 64-bit numbers. */
export const memoryRequest = z.strictObject({
  /** The ring that the reader has open: another one's memory would not fit to it. */
  folder: z.string(),
  start_ns: z
    .string()
    .regex(/^\d{1,19}$/)
    .transform(BigInt),
  end_ns: z
    .string()
    .regex(/^\d{1,19}$/)
    .transform(BigInt),
  topics: z.array(z.string().max(1000)).max(1000),
});

const KEYS_PER_CALL = 256;

/** Throws `Fault("other_ring")`. */
export function assertSameRing(asked: string, own: string): void {
  if (realpathSync(asked) === realpathSync(own)) return;
  throw new Fault("other_ring", `The daemon that answers records into ${own}.`, "Give --config of that daemon.");
}

export async function* readMemory(query: MemoryQuery, store: Thread, ingest: Thread): AsyncGenerator<Uint8Array> {
  const flushedNs = await ingest.call<bigint>("flush");
  const list = await store.call<MemoryList>("listMemory", { ...query, flushedNs });
  for (let at = 0; at < list.headers.length; ) {
    const headers = list.headers.slice(at, at + KEYS_PER_CALL);
    const request = { ...query, keys: headers.map(chunkKey) };
    const payloads = await store.call<(Uint8Array | undefined)[]>("readMemory", request);
    for (const [index, payload] of payloads.entries()) {
      const header = headers[index];
      if (header === undefined) break;
      yield* encodeMemoryChunk(header, payload);
    }
    at += payloads.length;
  }
  yield encodeMemoryEnd(list.completeUntilNs);
}
