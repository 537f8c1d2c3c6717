/** A daemon as the benchmarks run it: 20 rules and more, a ring of its own, and what it stored, counted in its database. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import type { StatusAnswer } from "../../src/control/answers.ts";
import { askDaemon } from "../../src/control/client.ts";
import { decodeChannels } from "../../src/ring/packed-chunk.ts";
import { Child, ROOT, waitFor } from "../support/child.ts";

/** What a load generator prints when it listens; topics as `name=type`. */
export type Load = { readonly url: string; readonly topics: readonly string[] };

/** Everything at full rate on disk, or as Lode comes. */
export type Keeping = "everything" | "default";

export type Counts = { readonly received: number; readonly stored: number; readonly dropped: number };

/** Beside the shipped rules, of which eight or more bind to the loads' topics. */
const THRESHOLDS = 12;

export class LodeUnderTest {
  readonly child: Child;
  readonly socket: string;
  readonly #ringFolder: string;
  #ring: Database.Database | undefined;

  private constructor(child: Child, socket: string, ringFolder: string) {
    this.child = child;
    this.socket = socket;
    this.#ringFolder = ringFolder;
  }

  /** Resolves when it is connected. `folder` is made, and left behind. */
  static async open(folder: string, load: Load, keeping: Keeping): Promise<LodeUnderTest> {
    mkdirSync(folder, { recursive: true });
    const config = join(folder, "lode.yaml");
    const rules = join(folder, "rules.yaml");
    const socket = join(folder, "control.sock");
    const ringFolder = join(folder, "data");
    writeFileSync(rules, thresholdRules(load.topics));
    writeFileSync(
      config,
      JSON.stringify({
        robot: { id: "bench" },
        sources: [{ url: load.url }],
        topics: keeping === "everything" ? { classes: { camera: { tier: "disk" } } } : {},
        rules: { files: [rules] },
        ring: { folder: ringFolder, bytes_max: "40GB" },
        telemetry: { socket, log_level: "warn" },
      }),
    );
    const lode = new LodeUnderTest(Child.lode(["run", "--config", config], serviceEnvironment()), socket, ringFolder);
    const isConnected = () =>
      lode.status().then(
        (answer) => answer.source.is_connected,
        () => false,
      );
    await waitFor(
      () => isConnected(),
      "the daemon",
      20_000,
      () => lode.child.stderr,
    );
    return lode;
  }

  status(): ReturnType<typeof askDaemon<StatusAnswer>> {
    return askDaemon<StatusAnswer>(this.socket, "GET", "/v1/status");
  }

  /** What is committed, by the ring's own counters. */
  committed(): Counts {
    this.#ring ??= new Database(join(this.#ringFolder, "ring.db"), { readonly: true });
    const { received, stored, dropped } = this.#ring
      .prepare<[], Counts>(
        `SELECT coalesce(sum(received), 0) AS received, coalesce(sum(stored), 0) AS stored,
           (SELECT coalesce(sum(count), 0) FROM drop_count) AS dropped FROM count`,
      )
      .get() ?? { received: 0, stored: 0, dropped: 0 };
    return { received, stored, dropped };
  }

  /** Messages and payload bytes in the rows of full chunks: what a reader will find, whatever the counters say. */
  stored(): { readonly messages: number; readonly bytes: number } {
    this.#ring ??= new Database(join(this.#ringFolder, "ring.db"), { readonly: true });
    let messages = 0;
    let bytes = 0;
    for (const row of this.#ring
      .prepare<[], { channels: Buffer }>("SELECT channels FROM chunk WHERE kind = 'full'")
      .iterate())
      for (const channel of decodeChannels(row.channels)) {
        messages += channel.count;
        bytes += channel.bytes;
      }
    return { messages, bytes };
  }

  async stop(): Promise<void> {
    await this.child.stop();
    this.#ring?.close();
  }
}

/** What the installed service gives Node. */
export function serviceEnvironment(): Record<string, string> {
  const unit = readFileSync(join(ROOT, "systemd/lode.service"), "utf8");
  const lines = [...unit.matchAll(/^Environment=(.*)$/gm)].map(([, pairs = ""]) => pairs);
  return Object.fromEntries([...lines.join(" ").matchAll(/(\w+)=(\S+)/g)].map(([, name, value]) => [name, value]));
}

/** A threshold with a debounce each, on the load's own joints. */
function thresholdRules(topics: readonly string[]): string {
  const joints = topics.filter((topic) => topic.endsWith("JointState")).map((topic) => topic.split("=")[0] ?? "");
  const rules = Array.from({ length: THRESHOLDS }, (_, index) => {
    const topic = joints[index % joints.length] ?? "";
    const condition = `abs(j.effort["joint_${index}"]) > 40 + ${index}`;
    return `  bench_${index}:\n    inputs: { j: ${topic} }\n    when: ${condition}\n    for_ms: 200\n`;
  });
  return `rules:\n${rules.join("")}`;
}
