/** A ring at the end of its channel ids. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ChannelRegistry } from "../../src/decode/channel-registry.ts";
import type { Channel } from "../../src/model/channel.ts";
import { auditRing } from "../support/audit.ts";
import { channel, LIGHT, noise, Rig, topicClass } from "./ring-rig.ts";

const CLOUD = topicClass("cloud", { tier: "disk", rank: 1, memoryBytesMax: 0, diskBytesMax: 430_000 });
const OPTIONS = { classes: [LIGHT, CLOUD], segmentBytes: 256 * 1024, inlineBytesMax: 8 * 1024 };
const declarationOf = ({ id: _, ...declaration }: Channel) => declaration;

/** Large messages on a channel, a second apart. */
function fill(rig: Rig, id: number, count: number): void {
  for (let index = 0; index < count; index += 1) {
    rig.send(id, noise(50_000, id * 100 + index));
    rig.clock.advanceMs(1000);
    rig.flush();
  }
  rig.settle();
}

test("at the end of all ids only those that nothing refers to are given again", () => {
  const first = new Rig(OPTIONS);
  for (const added of [
    channel(1, "/kept", "light"),
    channel(2, "/latched", "light", { isLatched: true }),
    channel(3, "/empty", "light"),
    channel(65_534, "/cloud", "cloud"),
    channel(65_535, "/last", "light"),
  ])
    first.addChannel(added);
  for (const id of [1, 2, 65_534, 65_535]) first.send(id, Buffer.from(`of ${id}`));
  first.settle();
  const rig = first.reopen(OPTIONS);
  try {
    expect(rig.ring.channels.map(({ id }) => id)).toEqual([1, 2, 65_534, 65_535]);
    const registry = ChannelRegistry.open(rig.ring.channels, rig.ring.freeChannelIds);
    const known = registry.declare(declarationOf(channel(0, "/kept", "light")));
    expect(known.id).toBe(1);
    const given = Array.from({ length: 65_531 }, (_, index) =>
      registry.declare(declarationOf(channel(0, `/new/${index}`, "light"))),
    );
    const ids = new Set(given.map(({ id }) => id));
    expect(ids.size).toBe(65_531);
    for (const used of [1, 2, 65_534, 65_535]) expect(ids.has(used)).toBe(false);
    expect(() => registry.declare(declarationOf(channel(0, "/one/more", "light")))).toThrow("all 65535 channel ids");
    const [reused] = given;
    expect(reused?.id).toBe(3);
    if (reused !== undefined) rig.addChannel(reused);
    rig.send(3, Buffer.from("of the new one"));
    rig.settle();
    const texts = rig.readAll().map(({ channelId, bytes }) => `${rig.topicOf(channelId)} ${Buffer.from(bytes)}`);
    expect(texts.sort()).toEqual(
      ["/cloud of 65534", "/kept of 1", "/last of 65535", "/latched of 2", "/new/0 of the new one"].sort(),
    );
    expect(auditRing(rig.folder)).toEqual([]);
  } finally {
    rig.remove();
  }
});

test("far from the end no id is given again", () => {
  const first = new Rig(OPTIONS);
  for (const id of [1, 2, 3]) first.addChannel(channel(id, `/a${id}`, "light"));
  first.send(3, Buffer.from("x"));
  first.settle();
  const rig = first.reopen(OPTIONS);
  expect(rig.ring.freeChannelIds.size).toBe(0);
  expect(rig.ring.channels).toHaveLength(3);
  rig.remove();
});

test("bytes of evicted chunks are not taken for the channel that has their id now, though the index is lost", () => {
  let rig = new Rig(OPTIONS);
  rig.addChannel(channel(3, "/old", "cloud"));
  rig.addChannel(channel(65_535, "/last", "cloud"));
  fill(rig, 3, 3);
  fill(rig, 65_535, 8); // over the class's bound: those of /old are evicted, their bytes are still there
  rig.clock.advanceMs(5000);
  rig.settle();
  expect(rig.readAll().filter(({ channelId }) => channelId === 3)).toEqual([]);
  rig = rig.reopen(OPTIONS);
  const registry = ChannelRegistry.open(
    rig.ring.channels,
    [...rig.ring.freeChannelIds].filter((id) => id === 3),
  );
  rig.addChannel(registry.declare(declarationOf(channel(0, "/new", "cloud"))));
  fill(rig, 3, 1);
  const sent = rig.sent.length;
  rig = rig.reopen({ ...OPTIONS, classes: [LIGHT, { ...CLOUD, diskBytesMax: 0 }] }, () => {
    for (const suffix of ["", "-wal", "-shm"]) rmSync(join(rig.folder, `ring.db${suffix}`), { force: true });
  });
  rig.settle();
  const { folder } = rig;
  expect(rig.topicOf(3)).toBe("/new");
  expect(rig.readAll().filter(({ channelId }) => channelId === 3)).toHaveLength(sent);
  expect(auditRing(folder)).toEqual([]);
  rig.remove();
}, 30_000);
