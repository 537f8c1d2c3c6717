/**
 * Messages with true times in place of log_time, for who asks for them: what is stored stays as it is.
 *
 * publish_time is a stamp of the publisher, made by a clock that may have been another one: it stays, but where the
 * publisher gave none and it is the log_time, of which it stays a copy.
 */
import { type BootClock, trueTimeNs } from "../model/boot-clock.ts";
import { type RingMessage, readRecord, recordOffsets, viewOf } from "../ring/message-record.ts";
import { bodyOf, chunkOfMessages, type WindowChunk } from "../ring/window.ts";

/** A boot whose clock nobody knows keeps its times. */
export function correctMessage(message: RingMessage, clock: BootClock | undefined): RingMessage {
  if (clock === undefined) return message;
  const logTimeNs = trueTimeNs(clock, message.logTimeNs);
  const isCopy = message.publishTimeNs === message.logTimeNs;
  return { ...message, logTimeNs, publishTimeNs: isCopy ? logTimeNs : message.publishTimeNs };
}

/** Made anew, in the same order: within a boot true time goes where log_time goes. */
export function correctChunk(chunk: WindowChunk, clock: BootClock | undefined): WindowChunk {
  if (clock === undefined) return chunk;
  const view = viewOf(bodyOf(chunk));
  const messages = [...recordOffsets(view)].map((offset) => readRecord(view, offset, clock.bootId));
  const corrected = messages.map((message) => correctMessage(message, clock));
  return chunkOfMessages(chunk.origin, chunk.className, corrected);
}
