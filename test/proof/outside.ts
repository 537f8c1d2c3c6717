/** What a killed line had said before: the ledger outside of it, by run. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { HEAVY_BYTES } from "./line.ts";

export type Fired = { readonly run: number; readonly step: number; readonly id: string; isWindowDurable: boolean };

export type Run = {
  readonly run: number;
  /** The robot had sent all up to this step. */
  sent: number;
  /** A commit had all light messages up to this step; -1: none yet. */
  durable: number;
  readonly fired: Fired[];
  readonly batched: string[];
  end: "killed" | "failpoint" | "itself";
  /** The index went after it, with the light chunks in it: nothing of this run is promised any more. */
  isRingLost: boolean;
  /** The disk was full from this step on; -1: it never was. */
  full: number;
  /** How often the disk refused a commit or an episode's files. */
  refused: number;
};

export type RunOptions = {
  readonly folder: string;
  readonly run: number;
  readonly pace: "fast" | "real" | "home";
  /** Armed in the child. */
  readonly failpoint?: string;
  /** `kill -9` so long after its first `durable`. */
  readonly killAfterMs?: number;
  readonly heavyBytes?: number;
  readonly env?: Readonly<Record<string, string>>;
  /** Done just before it is killed; what it says from then on does not count. */
  readonly cut?: () => void;
};

/** A child that hangs is a failure of its own. */
const DEADLINE_MS = 240_000;

/** Runs the line until it ends, however it does. Throws when it ends in another way than it was told to. */
export async function runLine(options: RunOptions): Promise<Run> {
  const { folder, run, pace, failpoint, killAfterMs, heavyBytes = HEAVY_BYTES } = options;
  const env = { ...process.env, ...options.env, ...(failpoint === undefined ? {} : { LODE_FAILPOINT: failpoint }) };
  const script = join(import.meta.dirname, "line-child.ts");
  const child = spawn(process.execPath, [script, folder, String(run), pace, String(heavyBytes)], { env });
  const told: Run = {
    run,
    sent: -1,
    durable: -1,
    fired: [],
    batched: [],
    end: "itself",
    isRingLost: false,
    full: -1,
    refused: 0,
  };
  let isKilledByUs = false;
  let [rest, errors] = ["", ""];
  const kill = () => {
    isKilledByUs = true;
    options.cut?.();
    child.kill("SIGKILL");
  };
  const deadline = setTimeout(() => child.kill("SIGABRT"), DEADLINE_MS);
  let timer: NodeJS.Timeout | undefined;
  child.stderr.on("data", (text: Buffer) => {
    errors += text;
  });
  child.stdout.on("data", (text: Buffer) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    if (!isKilledByUs) for (const line of lines) note(told, line);
    if (killAfterMs !== undefined && told.durable >= 0) timer ??= setTimeout(kill, killAfterMs);
  });
  await new Promise((resolve) => child.once("close", resolve));
  clearTimeout(deadline);
  clearTimeout(timer);
  // A disk without power may end it before the signal does.
  if (isKilledByUs) told.end = "killed";
  else if (child.signalCode === "SIGKILL") told.end = "failpoint";
  else if (child.exitCode !== 0 || rest !== "")
    throw new Error(`The line ended with ${child.exitCode ?? child.signalCode} at ${failpoint}: ${errors}`);
  return told;
}

function note(told: Run, line: string): void {
  const [word, first = "", id = ""] = line.split(" ");
  if (word === "sent") told.sent = Number(first);
  if (word === "durable") told.durable = Number(first);
  if (word === "fired") told.fired.push({ run: told.run, step: Number(first), id, isWindowDurable: false });
  if (word === "window") for (const fired of told.fired) if (fired.id === id) fired.isWindowDurable = true;
  if (word === "full") told.full = Number(first);
  if (word === "refused") told.refused += 1;
  if (word === "batched") told.batched.push(first);
}
