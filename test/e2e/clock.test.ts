/**
 * A robot whose clock was never set, finds its network, and is then set wrong by a person: the real daemon, under
 * libfaketime (Debian: `apt install faketime`), which moves the wall of that process and no other's.
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { waitFor } from "../support/child.ts";
import { readMcapBySpec, type SpecFile } from "../support/mcap-spec-reader.ts";
import { lacks } from "../support/needs.ts";
import { JOINTS, LiveRobot } from "./live-robot.ts";
import { Rig } from "./rig.ts";

const LIBRARY = ["x86_64", "aarch64"]
  .map((cpu) => `/usr/lib/${cpu}-linux-gnu/faketime/libfaketimeMT.so.1`)
  .find((path) => existsSync(path));
const HOUR_MS = 3_600_000;

/** Offset of the daemon's wall, which it takes over within a second. */
class Wall implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), "lode-clock-"));
  readonly env: Readonly<Record<string, string>>;

  constructor(offsetMs: number) {
    this.set(offsetMs);
    this.env = {
      ...{ LD_PRELOAD: LIBRARY ?? "", FAKETIME_TIMESTAMP_FILE: this.#file, FAKETIME_CACHE_DURATION: "1" },
      ...{ FAKETIME_DONT_FAKE_MONOTONIC: "1", NO_FAKE_STAT: "1" },
    };
  }

  get #file(): string {
    return join(this.#folder, "offset");
  }

  set(offsetMs: number): void {
    writeFileSync(this.#file, `${offsetMs < 0 ? "-" : "+"}${(Math.abs(offsetMs) / 1000).toFixed(3)}\n`);
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true });
  }
}

function jointTimes(file: SpecFile): number[] {
  const id = [...file.channels.values()].find(({ topic }) => topic === JOINTS)?.id;
  const ofJoints = file.messages.filter(({ channelId }) => channelId === id);
  return ofJoints.map(({ logTimeNs }) => Number(logTimeNs / 1_000_000n));
}

test.skipIf(lacks(LIBRARY !== undefined))(
  "a first boot in 1970, the jump to the true time, a restart and a wrong step: one boot, one order, and every message by its true time",
  { timeout: 120_000 },
  async () => {
    await using robot = await LiveRobot.open();
    using wall = new Wall(30 * HOUR_MS - Date.now());
    await using rig = await Rig.open({ bridgePort: robot.port, env: wall.env, config: { upload: { receivers: [] } } });
    const clock = async () => (await rig.status()).clocks.at(-1);
    const startMs = Date.now();
    await rig.startDaemon();
    await waitFor(async () => (await rig.status()).accounting.stored > 50, "recording in 1970");
    expect(await clock()).toMatchObject({ steps: [] });
    expect((await clock())?.start_time.slice(0, 4)).toBe("1970");
    await rig.lode(["capture", "--pre", "1s", "--post", "1s"]);
    wall.set(0);
    const known = await waitFor(async () => {
      const now = await clock();
      return now?.correction_ns !== undefined && now.steps.length > 0 && now;
    }, "the true time");
    expect(["set", "synchronised"]).toContain(known.state);
    expect(known.steps).toMatchObject([{ kind: "set" }]);
    expect(Math.abs(Date.parse(known.true_start_time ?? "") - startMs)).toBeLessThan(20_000);

    await rig.daemon?.killHard();
    wall.set(365 * 24 * HOUR_MS);
    await rig.startDaemon();
    const afterRestart = await waitFor(async () => {
      const now = await clock();
      return now?.steps.length === 2 && now;
    }, "the step it did not see");
    expect(afterRestart).toMatchObject({ start_time: known.start_time, correction_ns: known.correction_ns });
    const recorded = (await rig.status()).accounting.stored;
    await waitFor(async () => (await rig.status()).accounting.stored > recorded + 50, "recording goes on");
    const status = await rig.status();
    expect(status.now_time.slice(0, 4)).toBe("1970"); // log_time has not moved
    const [episode] = await waitFor(async () => {
      const episodes = await rig.episodes();
      return episodes[0]?.state === "batched" && episodes;
    }, "the episode's files");
    const trueStartMs = Date.parse(episode?.true_start_time ?? "");
    expect(trueStartMs).toBeGreaterThan(startMs - 5000);
    expect(trueStartMs).toBeLessThan(Date.now());

    await rig.daemon?.stop();
    const path = join(rig.folder, "all.mcap");
    const endMs = Date.now();
    await rig.lode(["export", "--from", "-100s", "--to", "now", "--corrected", "-o", path]);
    const times = jointTimes(readMcapBySpec(path));
    expect(times.length).toBeGreaterThan(recorded / 4);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    expect(times[0]).toBeGreaterThan(startMs);
    expect(times.at(-1)).toBeLessThan(endMs + 1000);
    const half = join(rig.folder, "half.mcap");
    const [fromMs = 0, toMs = 0] = [times[10], times[40]];
    const range = ["--from", `${fromMs}000000`, "--to", `${toMs}999999`];
    await rig.lode(["export", ...range, "--topics", JOINTS, "-o", half]);
    expect(jointTimes(readMcapBySpec(half))).toHaveLength(31);
  },
);
