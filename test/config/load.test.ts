import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { loadConfig } from "../../src/config/load.ts";
import { compileTopicPlan } from "../../src/config/topic-plan.ts";
import { Fault } from "../../src/std/fault.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lode-config-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function write(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

function faultOf(path: string): Fault {
  try {
    loadConfig(path);
  } catch (error) {
    if (error instanceof Fault) return error;
    throw error;
  }
  throw new Error("the configuration was accepted");
}

test("an empty file is valid and every key has its default", () => {
  const { config } = loadConfig(write("lode.yaml", ""));
  expect(config.sources[0]?.url).toBe("ws://127.0.0.1:9090");
  expect(config.ring.bytes_max).toBe(32e9);
  expect(Object.keys(config.topics.classes)).toEqual(["light", "camera", "cloud", "debug"]);
  expect(config.topics.classes.camera?.tier).toBe("memory");
});

test("an unknown key names file, line and the nearest known key", () => {
  const fault = faultOf(write("lode.yaml", "robot:\n  id: r1\nring:\n  byte_max: 5GB\n"));
  expect(fault.message).toContain("lode.yaml:4:");
  expect(fault.message).toContain('"ring.byte_max" is not a known key');
  expect(fault.hint).toContain('"bytes_max"');
});

test("a wrong type and an impossible number are found together, each at its line", () => {
  const fault = faultOf(write("lode.yaml", "topics:\n  include: 7\n  classes:\n    camera:\n      baseline_hz: -3\n"));
  expect(fault.message).toContain("lode.yaml:2:");
  expect(fault.message).toContain("lode.yaml:5:");
});

test("what a power cut may cost is bounded, as a number and as a text", () => {
  for (const value of ["1001", "2s"])
    expect(faultOf(write("lode.yaml", `ring:\n  commit_ms: ${value}\n`)).message).toContain("at most 1000 ms");
  expect(loadConfig(write("lode.yaml", "ring: {commit_ms: 1s}\n")).config.ring.commit_ms).toBe(1000);
});

test("a file that is not YAML says where it breaks", () => {
  expect(faultOf(write("lode.yaml", "robot: {id: r1\nring: 3\n")).message).toMatch(/lode\.yaml:\d+:\d+/);
});

test("drop-ins win in the order of their names, key by key", () => {
  const path = write("lode.yaml", "robot: {id: r1, site: lab}\n");
  mkdirSync(join(folder, "lode.d"));
  write("lode.d/20-b.yaml", "robot: {id: r3}\n");
  write("lode.d/10-a.yaml", "robot: {id: r2}\ntopics: {classes: {camera: {baseline_hz: 5}}}\n");
  const { config, files } = loadConfig(path);
  expect(config.robot).toMatchObject({ id: "r3", site: "lab" });
  expect(config.topics.classes.camera).toMatchObject({ baseline_hz: 5, tier: "memory", queue_length: 8 });
  expect(files).toHaveLength(3);
});

test("an assignment to a class that does not exist is refused", () => {
  const fault = faultOf(write("lode.yaml", "topics: {assign: [{match: ['/x'], class: camra}]}\n"));
  expect(fault.message).toContain("camra");
});

test("topics find their class by type, and their privacy by glob", () => {
  const path = write(
    "lode.yaml",
    "topics: {exclude: ['/debug/**'], assign: [{match: ['/people/**'], privacy: local}, {match: ['/mic'], privacy: never}]}\n",
  );
  const plan = compileTopicPlan(loadConfig(path).config.topics);
  expect(plan("/cam/image", "sensor_msgs/msg/CompressedImage")?.topicClass.name).toBe("camera");
  expect(plan("/cam/image", "sensor_msgs/Image")?.topicClass.name).toBe("camera");
  expect(plan("/points", "sensor_msgs/msg/PointCloud2")?.topicClass.name).toBe("cloud");
  expect(plan("/joint_states", "sensor_msgs/JointState")?.topicClass.name).toBe("light");
  expect(plan("/people/face", "sensor_msgs/Image")).toMatchObject({ isLocal: true });
  expect(plan("/people/face", "sensor_msgs/Image")?.topicClass.name).toBe("camera");
  expect(plan("/mic", "audio_msgs/Audio")).toBeUndefined();
  expect(plan("/debug/a/b", "std_msgs/String")).toBeUndefined();
});
