/** A database turns out to be damaged in the middle of other work. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { Retention } from "../../src/ring/retention.ts";
import { brokenIdentities, CAMERA, channel, expectedOf, gotOf, LIGHT, miscounts, noise, Rig } from "./ring-rig.ts";

const JOINTS = channel(1, "/joint_states", "light");
const IMAGE = channel(2, "/camera", "camera");

function malformed(): Error {
  return Object.assign(new Error("database disk image is malformed"), { code: "SQLITE_CORRUPT" });
}

/** The next time room is made for a chunk. */
function damageOnce(): Disposable {
  return vi.spyOn(Retention.prototype, "requireRoomFor").mockImplementationOnce(() => {
    throw malformed();
  });
}

test("damage found while a promotion is written: every message is stored once", () => {
  using rig = new Rig({ classes: [LIGHT, CAMERA] });
  rig.addChannel(JOINTS);
  rig.addChannel(IMAGE);
  for (let tick = 0; tick < 100; tick += 1) {
    rig.send(JOINTS.id, noise(300, rig.sent.length));
    rig.send(IMAGE.id, noise(30_000, rig.sent.length));
    rig.clock.advanceMs(50);
    rig.builder.flush(rig.nowNs);
  }
  rig.builder.flushAll();
  rig.ring.hold("episode", 0n, rig.nowNs);
  rig.ring.promote(0n, rig.nowNs, rig.nowNs);
  using _ = damageOnce();
  rig.ring.step(50);
  expect(existsSync(join(rig.folder, "ring.db.examined"))).toBe(true);
  expect(brokenIdentities(rig)).toEqual([]);
  rig.settle();
  expect(gotOf(rig.readAll())).toEqual(expectedOf(rig.sent));
  expect(rig.ring.status()).toMatchObject({ backlogBytes: 0, isDiskRefusing: false });
  expect(rig.ledger.snapshot().map(({ inMemory }) => inMemory)).toEqual([0, 0]);
  expect(brokenIdentities(rig)).toEqual([]);
  expect(miscounts(rig)).toEqual([]);
});

test("a damaged journal.db costs no sound ring.db: the fault says which file it is", () => {
  using rig = new Rig({ classes: [LIGHT, CAMERA] });
  rig.addChannel(JOINTS);
  rig.send(JOINTS.id, noise(300, 1));
  rig.settle();
  const prepare = rig.journal.prepare.bind(rig.journal);
  using _ = vi.spyOn(rig.journal, "prepare").mockImplementation((sql: string) => {
    if (/ring_channel|FROM boot/.test(sql)) throw malformed();
    return prepare(sql);
  });
  const corrupt = expect.objectContaining({ code: "corrupt_journal" });
  expect(() => rig.ring.status()).toThrow(corrupt);
  rig.addChannel(IMAGE);
  expect(() => rig.ring.commit()).toThrow(corrupt);
  expect(readdirSync(rig.folder).filter((name) => /damaged|examined/.test(name))).toEqual([]);
  vi.restoreAllMocks();
  rig.send(JOINTS.id, noise(300, 2));
  rig.settle();
  expect(gotOf(rig.readAll())).toEqual(expectedOf(rig.sent));
  expect(brokenIdentities(rig)).toEqual([]);
});
