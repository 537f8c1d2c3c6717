import type { FrameSplitter } from "../../src/source/frame-splitter.ts";

/** Reads the bytes into the splitter's memory, as a socket would; the rest of that memory is rubbish afterwards. */
export function feedSplitter(splitter: FrameSplitter, bytes: Buffer): void {
  for (let at = 0; at < bytes.length; ) {
    const room = splitter.room();
    const count = bytes.copy(room, 0, at);
    room.fill(0xee, count);
    splitter.taken(count);
    at += count;
  }
}
