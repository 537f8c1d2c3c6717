import { expect, test } from "vitest";
import { judgePhysics } from "../../src/model/operation.ts";
import { formatManifest, type Manifest, parseManifest } from "../../src/protocol/manifest.ts";

const T = 1_800_000_000_123_456_789n;

const MANIFEST: Manifest = {
  robot: { id: "arm-7", site: "lab", embodiment: "arm", labels: { ownerTeam: "red" } },
  ...{ lodeVersion: "0.1.0", createdNs: T, clock: undefined, counters: [], batches: [], previews: [] },
  hours: {
    ...{ robot: "arm-7", site: "lab", onMs: 7_200_000, connectedMs: 7_000_000, watchedMs: 6_000_000, movingMs: 1000 },
    ...{ tasks: 3, failures: 2, failuresByRule: [{ rule: "lostGrasp", count: 2 }], attempts: 5, recoveries: 1 },
    ...{ unrecovered: 0, interventions: 1 },
  },
  episode: {
    ...{ id: "018f", bootId: "b", kind: "failure", rule: "lostGrasp", priority: 90, startNs: T, endNs: T + 9n },
    ...{ outcome: "recovered", attempts: 2, segments: [], labels: { taskType: "x" }, note: "", isInterrupted: false },
    firings: [
      { rule: "lostGrasp", ruleVersion: "3f2a", detector: undefined, topic: "/j", atNs: T, values: { gapM: 1 } },
    ],
    evidence: [{ kind: "recovery_seen", outcome: "recovered", rule: "lostGrasp", atNs: T + 5n, values: { heldMs: 7 } }],
    ...{ timeToRecoverMs: 8200, linkedTo: { id: "017e", kind: "same_failure", afterMs: 60_000 } },
    ...{ topics: ["/j"], onDemand: ["/raw"] },
    operation: {
      ...{ taskType: "pick", robot: "arm-7", site: "lab", embodiment: "arm" },
      software: [{ name: "gripperFirmware", version: "2.1" }],
      physics: judgePhysics("physical", ["/clock: time comes from a simulator"]),
    },
    remarks: [{ atNs: T + 7n, author: "anna", labels: { camelCase: "y" }, note: "n", outcome: "recovered" }],
    completeness: [
      {
        ...{ topic: "/j", className: "light", role: "observation", askedPreRollMs: 10_000, askedPostRollMs: 5000 },
        ...{
          preRollMs: 9990,
          postRollMs: 4990,
          cutTo: "chunk",
          messages: 7,
          bytes: 70,
          longestGapMs: 20,
          dropped: { queue_full: 1 },
        },
        gaps: [{ startNs: T, endNs: T + 1n, reason: "queue_full" }],
        clockSteps: [{ atNs: T + 3n, stepMs: -3000 }],
        ...{ isOnDemand: true, onDemandStartMs: 80, coverage: "full" },
      },
    ],
    isComplete: false,
    shortfalls: [{ reason: "queue_full", topics: ["/j"], count: 1, isHint: false, words: "1 message of /j." }],
  },
};

test("a manifest comes back as it was, people's own words untouched", () => {
  expect(parseManifest(formatManifest(MANIFEST))).toEqual(MANIFEST);
});

/** As the first version of Lode wrote it. */
const FIRST = {
  ...{ format: "lode-manifest-1", robot: MANIFEST.robot, lode_version: "0.0.9" },
  created_time: "2026-11-21T12:58:16.373283000Z",
  episode: {
    ...{ id: "01a1", boot_id: "3899", kind: "failure", rule: "lost_grasp", priority: 80 },
    ...{ start_time: "2026-11-21T12:57:52.280441437Z", end_time: "2026-11-21T12:58:14.440547689Z" },
    ...{ outcome: "recovered", attempts: 2, firings: [], segments: [], labels: {}, note: "", is_interrupted: false },
    completeness: [
      {
        ...{ topic: "/camera", class_name: "camera", pre_roll_ms: 10_000, post_roll_ms: 11_280.06, messages: 342 },
        ...{ bytes: 5_052_572, dropped: {}, gaps: [], coverage: "full" },
      },
    ],
  },
  ...{ batches: [], previews: [] },
};

test("a manifest of the first version reads, and claims nothing that it does not say", () => {
  const { episode, hours } = parseManifest(JSON.stringify(FIRST));
  expect(episode).toMatchObject({
    rule: "lost_grasp",
    outcome: "recovered",
    evidence: [],
    remarks: [],
    shortfalls: [],
  });
  expect([episode.operation, episode.isComplete, episode.timeToRecoverMs, hours]).toEqual(Array(4).fill(undefined));
  expect(episode.completeness).toMatchObject([{ messages: 342, clockSteps: [], isOnDemand: false }]);
});

test("a manifest of a later version reads, without what nobody knows yet", () => {
  const later = { ...FIRST, episode: { ...FIRST.episode, mood: "fine" }, weather: { is_raining: true } };
  expect(parseManifest(JSON.stringify(later)).episode.rule).toBe("lost_grasp");
});
