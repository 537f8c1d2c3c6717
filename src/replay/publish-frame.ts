/**
 * Frames of the op `publish`, in the order of keys and the widths of integers of rosbridge_suite
 * (`capabilities/subscribe.py`, `internal/outgoing_message.py`): op, topic, msg; in cbor-raw msg is secs, nsecs, bytes.
 */
import { CborWriter } from "./cbor-writer.ts";

const NS_PER_S = 1_000_000_000n;

const writer = new CborWriter();

/** What comes before `msg`, the same for each message of a topic. */
export function rawFramePrefix(topic: string): Buffer {
  return writer.map(3).text("op").text("publish").text("topic").text(topic).text("msg").map(3).text("secs").finish();
}

/** One allocation and one copy of the payload. `nowNs` is the bridge's clock. */
export function rawFrame(prefix: Buffer, nowNs: bigint, payload: Uint8Array): Buffer {
  const middle = writer
    .integer(Number(nowNs / NS_PER_S))
    .text("nsecs")
    .integer(Number(nowNs % NS_PER_S))
    .text("bytes")
    .byteStringHead(payload.byteLength)
    .finish();
  const frame = Buffer.allocUnsafe(prefix.byteLength + middle.byteLength + payload.byteLength);
  frame.set(prefix, 0);
  frame.set(middle, prefix.byteLength);
  frame.set(payload, prefix.byteLength + middle.byteLength);
  return frame;
}

export function jsonFrame(topic: string, message: unknown): Buffer {
  return Buffer.from(JSON.stringify({ op: "publish", topic, msg: message }));
}
