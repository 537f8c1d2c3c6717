/** Reads an MCAP file with `@mcap/core`, as any viewer does: through its index. */
import { readFileSync } from "node:fs";
import { McapIndexedReader } from "@mcap/core";
import { decompress } from "lz4js";

export function openWithLibrary(path: string): Promise<McapIndexedReader> {
  const bytes = readFileSync(path);
  return McapIndexedReader.Initialize({
    readable: {
      size: async () => BigInt(bytes.length),
      read: async (offset, size) => new Uint8Array(bytes.subarray(Number(offset), Number(offset + size))),
    },
    decompressHandlers: { lz4: (frame, size) => decompress(frame, Number(size)) },
  });
}

export type LibraryMessage = { readonly topic: string; readonly logTimeNs: bigint; readonly bytes: Uint8Array };

export async function readWithLibrary(path: string): Promise<LibraryMessage[]> {
  const reader = await openWithLibrary(path);
  const messages: LibraryMessage[] = [];
  for await (const { channelId, logTime, data } of reader.readMessages({ validateCrcs: true }))
    messages.push({ topic: reader.channelsById.get(channelId)?.topic ?? "", logTimeNs: logTime, bytes: data });
  return messages;
}
