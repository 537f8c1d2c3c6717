/** Child processes for tests and benchmarks: Lode itself, load generators, peers. Each is ended by who started it. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";

export const ROOT = resolve(import.meta.dirname, "../..");
const LODE = join(ROOT, "src/cli/start.mjs");
const CLOCK_TICKS_PER_S = 100; // sysconf(_SC_CLK_TCK) on every Linux Lode runs on

export type ExitState = { readonly code: number | null; readonly signal: NodeJS.Signals | null };

export class Child {
  readonly #child: ChildProcessByStdio<null, Readable, Readable>;
  readonly exited: Promise<ExitState>;
  stdout = "";
  stderr = "";

  constructor(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.#child = spawn(process.execPath, [...args], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, NO_COLOR: "1", ...env },
    });
    this.#child.stdout.on("data", (part: Buffer) => {
      this.stdout += part.toString();
    });
    this.#child.stderr.on("data", (part: Buffer) => {
      this.stderr += part.toString();
    });
    this.exited = new Promise((resolve) => this.#child.once("close", (code, signal) => resolve({ code, signal })));
  }

  /** `lode ARGS…` with the Node that runs the tests. */
  static lode(args: readonly string[], env: Readonly<Record<string, string>> = {}): Child {
    return new Child([LODE, ...args], env);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** `kill -9`, and it is gone when this resolves. */
  async killHard(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.exited;
  }

  /** Asks it to end and waits; kills it when it does not within 20 s. */
  async stop(): Promise<ExitState> {
    this.#child.kill("SIGTERM");
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), 20_000);
    const state = await this.exited;
    clearTimeout(timer);
    return state;
  }

  /** The first line of stdout that is a JSON object. */
  async firstJson<T>(): Promise<T> {
    return JSON.parse(
      await waitFor(
        () => this.stdout.split("\n").find((line) => line.startsWith("{") && line.endsWith("}")),
        "a line of JSON",
        20_000,
        () => this.stderr,
      ),
    );
  }

  lastJson<T>(): T {
    const line = this.stdout
      .trim()
      .split("\n")
      .findLast((text) => text.startsWith("{"));
    return JSON.parse(line ?? "{}");
  }

  /** Processor seconds so far, of all its threads, user and system (proc(5), stat fields 14 and 15). */
  cpuSeconds(): number {
    const fields = readFileSync(`/proc/${this.pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
    return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS_PER_S;
  }

  /** The same by thread name; V8's own helpers together under theirs. */
  cpuSecondsByThread(): ReadonlyMap<string, number> {
    const seconds = new Map<string, number>();
    for (const id of readdirSync(`/proc/${this.pid}/task`)) {
      const stat = readFileSync(`/proc/${this.pid}/task/${id}/stat`, "utf8");
      const name = stat.slice(stat.indexOf("(") + 1, stat.lastIndexOf(")"));
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      seconds.set(name, (seconds.get(name) ?? 0) + (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS_PER_S);
    }
    return seconds;
  }

  /** Resident bytes now. */
  residentBytes(): number {
    const status = readFileSync(`/proc/${this.pid}/status`, "utf8");
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024;
  }
}

/** Polls until `probe` gives something; throws after the deadline, saying what was missing. */
export async function waitFor<T>(
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  what: string,
  deadlineMs = 20_000,
  context: () => string = () => "",
): Promise<T> {
  const endMs = performance.now() + deadlineMs;
  for (;;) {
    const value = await probe();
    if (value !== undefined && value !== false) return value;
    if (performance.now() > endMs)
      throw new Error(`waited ${deadlineMs} ms in vain for ${what}\n${context().slice(-3000)}`);
    await sleep(25);
  }
}
