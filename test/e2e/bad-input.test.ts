/** What a person gets wrong is named with file and line, what is wrong and how to mend it, and nothing stays running. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Child, waitFor } from "../support/child.ts";
import { JOINTS, LiveRobot } from "./live-robot.ts";
import { freePort, Rig } from "./rig.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lode-bad-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

type Outcome = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

/** To its end; one that stays running is killed and has no code. */
async function lode(...args: string[]): Promise<Outcome> {
  const child = Child.lode(args);
  const deadline = setTimeout(() => child.kill("SIGKILL"), 20_000);
  const { code } = await child.exited;
  clearTimeout(deadline);
  return { code, stdout: child.stdout, stderr: child.stderr };
}

function write(name: string, text: string): string {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
}

/** A configuration whose first lines are in order; `text` begins in line 3. */
function writeConfig(text: string): string {
  const head = 'sources: [{ url: "ws://127.0.0.1:9" }]\ntelemetry: { socket: control.sock }\n';
  return write("lode.yaml", head + text);
}

const RULE = "rules:\n  hot:\n    inputs:\n      js: { type: sensor_msgs/msg/JointState }\n";

type Case = { readonly text: string; readonly rule?: string; readonly place: string; readonly words: RegExp[] };
const CASES: Readonly<Record<string, Case>> = {
  "an unknown key": {
    text: "ring:\n  byte_max: 4\n",
    place: "lode.yaml:4:",
    words: [/"ring.byte_max" is not a known key/, /Did you mean "bytes_max"\?/],
  },
  "a wrong type": { text: "ring:\n  folder: 7\n", place: "lode.yaml:4:", words: [/ring.folder: .*string/, /Give a/] },
  "an impossible number": {
    text: "ring: { bytes_max: -5 }\n",
    place: "lode.yaml:3:",
    words: [/ring.bytes_max: /, /at least 0/],
  },
  "unparsable YAML": { text: "rules: [\n", place: "lode.yaml:4:", words: [/Check indentation/] },
  "a disabled rule that is none": {
    text: "rules:\n  disable: [lost_grap]\n",
    place: "lode.yaml:4:",
    words: [/"lost_grap", which is no rule/, /Did you mean "lost_grasp"\?/],
  },
  "a receiver's key that is none": {
    text: "upload:\n  receivers:\n    - url: http://127.0.0.1:9\n      token_file: token\n      public_keys: [abcd]\n",
    place: "lode.yaml:7:",
    words: [/"abcd" is not an Ed25519 public key/, /Paste the line/],
  },
  "a time window that is none": {
    text: "upload:\n  windows: [never]\n",
    place: "lode.yaml:4:",
    words: [/"never" is not a cron expression/, /such as/],
  },
  "a topic class that is none": {
    text: "topics:\n  assign:\n    - { match: [/x], class: camra }\n",
    place: "lode.yaml:5:",
    words: [/class "camra", which does not exist/, /Did you mean "camera"\?/],
  },
  "a folder of definitions that is not there": {
    text: "topics:\n  msg_folders: [nowhere]\n",
    place: "lode.yaml:4:",
    words: [/nowhere is not there/, /Name a folder/],
  },
  "an expression that does not parse": {
    text: "rules: { files: [hot.yaml] }\n",
    rule: `${RULE}    when: max(js.effort) >>> 6\n`,
    place: "hot.yaml:5:",
    words: [/when: /, /Expressions follow CEL/],
  },
  "a field that does not exist": {
    text: "rules: { files: [hot.yaml] }\n",
    rule: `${RULE}    when: max(js.efort) > 6\n`,
    place: "hot.yaml:",
    words: [/"efort" is no field of sensor_msgs\/msg\/JointState/, /Correct "js.efort"/],
  },
  "a detector that does not exist": {
    text: "rules: { files: [hot.yaml] }\n",
    rule: "rules:\n  hot:\n    detector: over_curent\n",
    place: "hot.yaml:3:",
    words: [/no detector "over_curent"/, /Did you mean "over_current"\?/],
  },
};

test.for(Object.entries(CASES))("%s: check and run name place and cure, and end with 2", async ([, bad]) => {
  if (bad.rule !== undefined) write("hot.yaml", bad.rule);
  const config = writeConfig(bad.text);
  const [check, run] = await Promise.all([
    lode("check", "--config", config),
    lode("run", "--json", "--config", config),
  ]);
  expect([check.code, run.code]).toEqual([2, 2]);
  expect(check.stderr).toContain(join(folder, bad.place));
  for (const word of bad.words) expect(check.stderr).toMatch(word);
  expect(run.stderr).toBe(check.stderr);
  const { error } = JSON.parse(run.stdout);
  expect(error.code).toMatch(/^bad_(config|rules)$/);
  expect(`lode: ${error.message}\nhint: ${error.hint}\n`).toBe(run.stderr);
});

test("a folder or socket that cannot be used is an operating error with its cure", async () => {
  write("file", "");
  const ring = writeConfig("ring: { folder: file/data }\n");
  const [check, run] = await Promise.all([lode("check", "--config", ring), lode("run", "--config", ring)]);
  expect(check.code).toBe(4);
  expect(check.stdout).toMatch(/problem +disk .*cannot be written/);
  expect(run.code).toBe(1);
  expect(run.stderr).toMatch(/file\/data cannot be used: .*\nhint: .*ring\.folder/);
  const socket = write("socket.yaml", "ring: { folder: data }\ntelemetry: { socket: file/control.sock }\n");
  const refused = await lode("run", "--json", "--config", socket);
  expect(refused.code).toBe(1);
  expect(JSON.parse(refused.stdout.split("\n")[0] ?? "").error).toMatchObject({ code: "no_socket" });
});

test("a command or option that does not exist ends with 2, a command without a daemon with 3", async () => {
  const config = writeConfig("");
  const usage = [["frobnicate"], ["run", "--fast"], ["pause", "recording"], ["status", "--config", "nowhere.yaml"]];
  const wrong = await Promise.all(usage.map((args) => lode(...args, "--json")));
  expect(wrong.map(({ code }) => code)).toEqual(usage.map(() => 2));
  expect(wrong.map(({ stdout }) => JSON.parse(stdout).error.code)).toEqual([
    ...["bad_usage", "bad_usage", "bad_usage", "bad_config"],
  ]);
  const asking = [["status"], ["topics"], ["batches"], ["capture"], ["pause", "upload"], ["resume", "upload"]];
  for (const args of asking) {
    const { code, stdout, stderr } = await lode(...args, "--json", "--config", config);
    expect([args[0], code, JSON.parse(stdout).error.code]).toEqual([args[0], 3, "not_running"]);
    expect(stderr).toMatch(/hint: Start it/);
  }
});

/** Takes so many connections and ends each at once, as a bridge does that is just starting. */
async function hangUpOnTries(port: number, count: number): Promise<void> {
  let tries = 0;
  const server = createServer((socket) => {
    tries += 1;
    socket.destroy();
  }).listen(port, "127.0.0.1");
  await waitFor(() => tries >= count, `${count} tries`, 20_000);
  await new Promise((resolve) => server.close(resolve));
}

/** How often the daemon's log has a sentence. */
function lines(rig: Rig, sentence: string): number {
  return (rig.daemon?.stderr ?? "").split("\n").filter((line) => line.includes(sentence)).length;
}

test("a bridge that is away is waited for, named once, and recorded when it comes", { timeout: 40_000 }, async () => {
  const port = await freePort();
  await using rig = await Rig.open({ bridgePort: port, config: { upload: { receivers: [] } } });
  await rig.startDaemon();
  await waitFor(async () => (await rig.status()).source.reason !== "not tried yet", "a first try");
  const { source } = await rig.status();
  expect(source).toMatchObject({ is_connected: false, reason: expect.stringMatching(/ECONNREFUSED|refused/) });
  await hangUpOnTries(port, 3);
  {
    await using robot = await LiveRobot.open({ port });
    await waitFor(async () => (await rig.status()).accounting.stored > 20, "recording");
    expect(lines(rig, "The bridge is not connected.")).toBe(1);
    expect(lines(rig, "Connected to the bridge.")).toBe(1);
    expect(robot.isSubscribed(JOINTS)).toBe(true);
  }
  await waitFor(async () => !(await rig.status()).source.is_connected, "the loss");
  const { received } = (await rig.status()).accounting;
  await using again = await LiveRobot.open({ port });
  await waitFor(async () => (await rig.status()).accounting.received > received + 20, "recording again", 30_000);
  expect(again.isSubscribed(JOINTS)).toBe(true);
  expect(lines(rig, "The bridge is not connected.")).toBe(2);
  await waitFor(async () => (await rig.status()).losses.length > 0, "the gap's row");
  expect((await rig.status()).losses).toMatchObject([{ topic: "", reason: "connection_gap" }]);
});

test("a receiver that is away is waited for, named once, and given everything when it comes", {
  timeout: 60_000,
}, async () => {
  await using robot = await LiveRobot.open();
  await using rig = await Rig.open({ bridgePort: robot.port });
  await rig.startDaemon();
  await waitFor(async () => (await rig.status()).accounting.stored > 50, "recording");
  await rig.lode(["capture", "--pre", "1s", "--post", "0s"]);
  await waitFor(async () => (await rig.status()).upload.last_result.startsWith("interrupted"), "a first try");
  for (const _ of [1, 2, 3]) {
    const tries = rig.journal<{ n: number }>("SELECT count(*) AS n FROM attempt")[0]?.n ?? 0;
    await rig.lode(["resume", "upload"]); // at once, not after the back-off
    await waitFor(() => (rig.journal<{ n: number }>("SELECT count(*) AS n FROM attempt")[0]?.n ?? 0) > tries, "a try");
  }
  expect(lines(rig, "The receiver cannot be reached")).toBe(1);
  await rig.startReceiver();
  await rig.lode(["resume", "upload"]);
  await rig.episodesHome(1, 20_000);
  expect(lines(rig, "The receiver answers again.")).toBe(1);
});
