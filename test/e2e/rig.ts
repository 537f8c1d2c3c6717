/** A robot's daemon and a receiver as processes of their own, in a folder of their own, joined by real sockets. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import type { EpisodesAnswer, StatusAnswer, TopicsAnswer } from "../../src/control/answers.ts";
import { askDaemon } from "../../src/control/client.ts";
import type { Wire } from "../../src/std/wire.ts";
import { Child, waitFor } from "../support/child.ts";

export type RigOptions = {
  readonly bridgePort: number;
  /** Laid over the rig's own configuration, section by section. */
  readonly config?: Readonly<Record<string, object>>;
  /** Where the robot believes the receiver to be; the receiver itself unless told. */
  readonly uploadUrl?: (receiverPort: number) => string;
  readonly dataFolder?: string;
  /** Of the daemon. */
  readonly env?: Readonly<Record<string, string>>;
};

export class Rig {
  readonly folder = mkdtempSync(join(tmpdir(), "lode-e2e-"));
  readonly #options: RigOptions;
  readonly #children: Child[] = [];
  receiverPort = 0;
  /** The receiver's, as the robot pins them. */
  publicKeys: readonly string[] = [];
  daemon: Child | undefined;
  receiver: Child | undefined;

  private constructor(options: RigOptions) {
    this.#options = options;
  }

  static async open(options: RigOptions): Promise<Rig> {
    const rig = new Rig(options);
    rig.receiverPort = await freePort();
    rig.#write("receiver.yaml", {
      receiver: { folder: "received", listen: `127.0.0.1:${rig.receiverPort}`, free_bytes_min: 0 },
    });
    const { token, public_key } = await rig.lode<{ token: string; public_key: string }>(
      ["receiver", "robots", "add", "rig"],
      "receiver.yaml",
    );
    rig.publicKeys = [public_key];
    writeFileSync(join(rig.folder, "token"), token);
    const own: Record<string, object> = {
      robot: { id: "rig" },
      sources: [{ url: `ws://127.0.0.1:${options.bridgePort}` }],
      topics: {},
      ring: { folder: options.dataFolder ?? "data", bytes_max: 2e9, free_bytes_min: 0 },
      rules: {},
      upload: {
        receivers: [
          {
            url: options.uploadUrl?.(rig.receiverPort) ?? `http://127.0.0.1:${rig.receiverPort}`,
            token_file: "token",
            public_keys: [public_key],
          },
        ],
      },
      telemetry: { socket: "control.sock", log_level: "info" },
    };
    for (const [key, value] of Object.entries(options.config ?? {}))
      own[key] = Array.isArray(value) ? value : { ...own[key], ...value };
    rig.#write("lode.yaml", own);
    return rig;
  }

  get dataFolder(): string {
    return this.#options.dataFolder ?? join(this.folder, "data");
  }

  async startReceiver(): Promise<Child> {
    const child = this.spawn(["receiver", "--config", join(this.folder, "receiver.yaml"), "--json"]);
    await child.firstJson();
    this.receiver = child;
    return child;
  }

  async startDaemon(): Promise<Child> {
    const child = this.spawn(["run", "--config", join(this.folder, "lode.yaml")], this.#options.env);
    this.daemon = child;
    await waitFor(
      () =>
        this.status().then(
          () => true,
          () => false,
        ),
      "the daemon's control socket",
      20_000,
      () => child.stderr,
    );
    return child;
  }

  spawn(args: readonly string[], env: Readonly<Record<string, string>> = {}): Child {
    const child = Child.lode(args, env);
    this.#children.push(child);
    return child;
  }

  /** A command to its end; its JSON answer. */
  async lode<T>(args: readonly string[], config = "lode.yaml"): Promise<T> {
    const child = this.spawn([...args, "--json", "--config", join(this.folder, config)]);
    const { code } = await child.exited;
    if (code !== 0) throw new Error(`lode ${args.join(" ")} ended with ${code}: ${child.stderr}`);
    return child.lastJson<T>();
  }

  status(): Promise<Wire<StatusAnswer>> {
    return askDaemon<StatusAnswer>(join(this.folder, "control.sock"), "GET", "/v1/status");
  }

  topics(): Promise<Wire<TopicsAnswer>> {
    return askDaemon<TopicsAnswer>(join(this.folder, "control.sock"), "GET", "/v1/topics");
  }

  async episodes(): Promise<Wire<EpisodesAnswer>["episodes"]> {
    return (await askDaemon<EpisodesAnswer>(join(this.folder, "control.sock"), "GET", "/v1/episodes")).episodes;
  }

  /** Waits until the daemon has this many episodes, all home. */
  episodesHome(count: number, deadlineMs: number): Promise<Wire<EpisodesAnswer>["episodes"]> {
    return waitFor(
      async () => {
        const episodes = await this.episodes().catch(() => []);
        return episodes.length >= count && episodes.every(({ state }) => state === "receipted") && episodes;
      },
      `${count} episodes at home`,
      deadlineMs,
      () => this.daemon?.stderr ?? "",
    );
  }

  async receivedEpisodes(): Promise<
    readonly { id: string; files: readonly string[]; batches: readonly { batch: string }[] }[]
  > {
    return (
      await this.lode<{ episodes: { id: string; files: string[]; batches: { batch: string }[] }[] }>(
        ["receiver", "episodes"],
        "receiver.yaml",
      )
    ).episodes;
  }

  /** Reads every received blob against its receipt. */
  fsck(): Promise<{ batches: number; blobs: number; problems: readonly object[] }> {
    return this.lode(["receiver", "fsck"], "receiver.yaml");
  }

  /** Rows of the robot's journal, whether a daemon runs or not. */
  journal<Row>(sql: string): Row[] {
    const db = new Database(join(this.dataFolder, "journal.db"), { readonly: true });
    try {
      return db.prepare<[], Row>(sql).all();
    } finally {
      db.close();
    }
  }

  /** Files of batches that are still on the robot, and parts and blobs at the receiver. */
  leftovers(): { readonly robot: string[]; readonly parts: string[]; readonly blobs: string[] } {
    const list = (folder: string) => {
      try {
        return readdirSync(folder, { recursive: true, withFileTypes: true })
          .filter((entry) => entry.isFile())
          .map((entry) => entry.name);
      } catch {
        return [];
      }
    };
    const received = join(this.folder, "received");
    return {
      robot: list(join(this.dataFolder, "batches")),
      parts: list(join(received, "parts")),
      blobs: list(join(received, "blobs")),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) child.kill("SIGKILL");
    await Promise.all(this.#children.map((child) => child.exited));
    rmSync(this.folder, { recursive: true, force: true });
  }

  #write(name: string, content: object): void {
    writeFileSync(join(this.folder, name), JSON.stringify(content));
  }
}

/** A port that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}
