/** Six seconds of a robot with a video camera, one that sends pictures, and joints; an episode begins in mid-run. */
import { ChannelReader } from "../../src/decode/channel-reader.ts";
import type { Channel } from "../../src/model/channel.ts";
import type { TopicClass } from "../../src/model/topic-class.ts";
import { accessUnits, type Codec, cdrMessage, FRAME_HZ, schemaOf } from "../support/video.ts";
import { CAMERA, channel, LIGHT, MS, noise, Rig, START_NS } from "./ring-rig.ts";

const TYPE = "foxglove_msgs/msg/CompressedVideo";
export const VIDEO = channel(1, "/front/video", "camera", { schema: schemaOf(TYPE) });
export const JPEG = channel(2, "/rear/image", "camera");
const JOINTS = channel(3, "/joints", "light");
export const decoder = new ChannelReader();
export const frameAt = (index: number): bigint => START_NS + BigInt(index) * (1000n / BigInt(FRAME_HZ)) * MS;
/** As ingest chooses. */
const CHOICES = { key: "when_due", parameters: "always", delta: "never", other: "when_due" } as const;

export function sendFrame(rig: Rig, video: Channel, codec: Codec, index: number, unit: Uint8Array): void {
  const bytes = cdrMessage(TYPE, codec, unit);
  const kind = decoder.videoFrames(video)?.(bytes) ?? "other";
  rig.builder.append(video.id, rig.nowNs, rig.nowNs, bytes, CHOICES[kind]);
  if (kind === "key") rig.ring.noteKeyFrame(video.id, rig.nowNs);
  rig.send(JPEG.id, noise(3000, index));
  rig.send(JOINTS.id, noise(50, index));
}

/** Six seconds of video, another camera and joints; at `firingIndex` an episode from `startIndex` on begins. */
export function record(
  codec: Codec,
  camera: Partial<TopicClass>,
  startIndex: number,
  firingIndex: number,
  lost: readonly number[] = [],
): Rig {
  const rig = new Rig({ classes: [LIGHT, { ...CAMERA, ...camera }] });
  for (const known of [VIDEO, JPEG, JOINTS]) rig.addChannel(known);
  for (const [index, unit] of accessUnits(codec).entries()) {
    if (index === firingIndex) {
      rig.builder.flushAll();
      rig.ring.setFullRate(true);
      rig.ring.hold("e", frameAt(startIndex), frameAt(60));
      rig.ring.promote(frameAt(startIndex), frameAt(60), rig.nowNs);
    }
    if (!lost.includes(index)) sendFrame(rig, VIDEO, codec, index, unit);
    rig.clock.advanceMs(1000 / FRAME_HZ);
    rig.flush();
  }
  rig.settle();
  return rig;
}
