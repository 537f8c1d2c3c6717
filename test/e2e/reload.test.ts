/** New rules while the daemon runs: SIGHUP. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { waitFor } from "../support/child.ts";
import { JOINTS, LiveRobot } from "./live-robot.ts";
import { Rig } from "./rig.ts";

const rule = (name: string, when: string, more = "") =>
  `  ${name}:\n    inputs: { j: ${JOINTS} }\n    when: ${when}\n    pre_roll_ms: 500\n    post_roll_ms: 500\n${more}`;
const NEVER = "j.position[0] > 1000000";
const ALWAYS = "j.position[0] < 1000000";

test("SIGHUP exchanges the rules while recording goes on; bad ones leave the old ones at work, and an open episode goes on", {
  timeout: 60_000,
}, async () => {
  await using robot = await LiveRobot.open();
  await using rig = await Rig.open({
    bridgePort: robot.port,
    config: { rules: { files: ["own.yaml"], shipped: false } },
  });
  const write = (text: string) => writeFileSync(join(rig.folder, "own.yaml"), `rules:\n${text}`);
  const rules = async () => (await rig.status()).capture.rules.map(({ rule, state }) => `${rule} ${state}`);
  write(rule("quiet", NEVER) + rule("span", ALWAYS, "    kind: span\n    max_ms: 60000\n"));
  const daemon = await rig.startDaemon();
  await waitFor(async () => (await rig.status()).capture.open?.rule === "span", "the span's episode");
  const before = await rig.status();

  write(rule("quiet", "j.positionn[0 > 3"));
  process.kill(daemon.pid, "SIGHUP");
  await waitFor(async () => (await rig.status()).capture.rules_problem !== undefined, "the bad file to be refused");
  expect((await rig.status()).capture.rules_problem).toContain("own.yaml:4:");
  expect(await rules()).toEqual(["quiet bound", "span bound"]);

  write(rule("loud", ALWAYS) + rule("span", ALWAYS, "    kind: span\n    max_ms: 60000\n"));
  process.kill(daemon.pid, "SIGHUP");
  await waitFor(async () => (await rules()).join() === "loud bound,span bound", "the new rules");
  await waitFor(async () => (await rig.status()).capture.rules[0]?.firings === 1, "the new rule's firing");
  const after = await rig.status();
  expect(after.capture.rules_problem).toBeUndefined();
  expect(after.capture.open?.id).toBe(before.capture.open?.id);
  // The kept rule went on as it stood: it did not fire again.
  expect(after.capture.rules[1]?.firings).toBe(1);

  // Messages go on coming, and the ledger has no loss of them.
  const receivedOf = async () => (await rig.topics()).topics.find(({ topic }) => topic === JOINTS)?.accounting.received;
  const first = await receivedOf();
  await waitFor(async () => ((await receivedOf()) ?? 0) > (first ?? 0), "messages after the exchange");
  expect((await rig.status()).losses.filter(({ topic }) => topic === JOINTS)).toEqual([]);
});
