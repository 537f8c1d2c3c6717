/** Data folders of older formats, kept as they were, and of newer ones. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openJournal } from "../../src/daemon/journal.ts";
import { readRecord, recordOffsets, viewOf } from "../../src/ring/message-record.ts";
import { bodyOf, windowChunks } from "../../src/ring/window.ts";
import { Rig } from "../ring/ring-rig.ts";
import { auditRing } from "../support/audit.ts";
import { Child } from "../support/child.ts";
import { makeFolder, removeFolder } from "../support/folder.ts";
import { type Listing, listFolder, OLD_CLASSES } from "../support/old-folder.ts";

const KEPT = resolve(import.meta.dirname, "../data/old-folders");
const OPENER = resolve(import.meta.dirname, "../scripts/open-folder.ts");
const OLDER = readdirSync(KEPT).flatMap((name) => (name.endsWith(".tar.gz") ? [name.slice(0, -7)] : []));

let parent: string;
beforeEach(() => {
  parent = makeFolder();
});
afterEach(() => removeFolder(join(parent, "..")));

const kept = (name: string): Listing => JSON.parse(readFileSync(join(KEPT, `${name}.json`), "utf8"));

function unpack(name: string): string {
  execFileSync("tar", ["-C", parent, "-xzf", join(KEPT, `${name}.tar.gz`)]);
  return join(parent, name);
}

function open(folder: string): Rig {
  openJournal(folder).close();
  return new Rig({ classes: OLD_CLASSES, bootId: "boot-3" }, folder);
}

function versionOf(folder: string, file: string): unknown {
  const db = new Database(join(folder, file), { readonly: true });
  const version = db.pragma("user_version", { simple: true });
  db.close();
  return version;
}

/** Everything but the index of the log, which any connection makes anew, and an empty log. */
function hashes(folder: string): Record<string, string> {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => !name.endsWith("-shm"));
  const files = names.filter((name) => statSync(join(folder, name)).isFile() && statSync(join(folder, name)).size > 0);
  const hashOf = (name: string) =>
    createHash("sha256")
      .update(readFileSync(join(folder, name)))
      .digest("hex");
  return Object.fromEntries(files.map((name) => [name, hashOf(name)]));
}

test.for(OLDER)("a folder of %s opens, and every message, episode, loss, batch and receipt reads as before", (name) => {
  const folder = unpack(name);
  using rig = open(folder);
  const { losses, ...same } = kept(name);
  const now = listFolder(folder);
  expect(now).toMatchObject(same);
  expect(now.losses).toEqual(expect.arrayContaining(losses.map((loss) => expect.objectContaining(loss))));
  expect(now.losses).toContainEqual(expect.objectContaining({ reason: "crash" }));
  rig.send(1, Buffer.from("goes on"));
  rig.settle();
  expect(auditRing(folder)).toEqual([]);
  expect(listFolder(folder).messages).toHaveLength(same.messages.length + 1);
});

test.for(["ring.db", "journal.db"])("a newer format of %s is refused in words, and nothing is touched", (file) => {
  const folder = unpack("format-1");
  openJournal(folder).close();
  open(folder)[Symbol.dispose]();
  const db = new Database(join(folder, file));
  db.pragma("user_version = 99");
  db.close();
  const before = hashes(folder);
  expect(() => (file === "ring.db" ? open(folder) : openJournal(folder))).toThrow(
    new RegExp(`${file} has format 99; this Lode knows up to \\d+`),
  );
  expect(hashes(folder)).toEqual(before);
});

test.for(["database.migrating", "database.migrating:2"])("a kill at %s leaves the old version whole", async (point) => {
  const folder = unpack("format-1");
  const child = new Child([OPENER, folder], { LODE_FAILPOINT: point });
  expect((await child.exited).signal).toBe("SIGKILL");
  const [whole, migrated] = point.endsWith(":2") ? [["ring.db"], ["journal.db"]] : [["ring.db", "journal.db"], []];
  for (const file of whole) expect(versionOf(folder, file)).toBe(1);
  for (const file of migrated) expect(versionOf(folder, file)).toBe(2);
  open(folder)[Symbol.dispose]();
  expect(listFolder(folder)).toMatchObject({ messages: kept("format-1").messages });
});

test("a window over a folder of format 1, which has messages in two chunks, has each of them once", () => {
  using rig = open(unpack("format-1"));
  using reader = rig.open();
  const range = { startNs: 0n, endNs: 2n ** 62n };
  const nameOf = (bytes: Uint8Array, bootId: string): string[] => {
    const body = viewOf(bytes);
    const messages = [...recordOffsets(body)].map((offset) => readRecord(body, offset, bootId));
    return messages.map(({ channelId, sequence, logTimeNs }) => `${channelId} ${sequence} ${logTimeNs}`);
  };
  const inChunks = [...reader.chunks(range)].flatMap((chunk) => nameOf(reader.decompress(chunk), ""));
  const query = { ...range, wants: () => true, isCut: () => true, onDamaged: () => expect.unreachable() };
  const inWindow = [...windowChunks(reader, query)].flatMap((chunk) => nameOf(bodyOf(chunk), ""));
  expect(inChunks.length).toBeGreaterThan(new Set(inChunks).size); // the control
  expect(inWindow.toSorted()).toEqual([...new Set(inChunks)].toSorted());
});
