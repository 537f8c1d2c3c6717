/**
 * What every command shares: options, where answers and talk go, and how a failure ends the process.
 *
 * stdout is the answer (`--json`: one object), stderr is the talk.
 * Exit: 0 done · 1 it failed · 2 usage or configuration · 3 the daemon is not running · 4 done, and problems were found.
 */
import { type LoadedConfig, loadConfig } from "../config/load.ts";
import { Fault } from "../std/fault.ts";
import { toWire } from "../std/wire.ts";

export type CommonOptions = { readonly json?: boolean; readonly config?: string };

const EXIT_CODES: Readonly<Record<string, number>> = {
  bad_config: 2,
  bad_rules: 2,
  bad_usage: 2,
  bad_time: 2,
  bad_duration: 2,
  not_running: 3,
};

export function readConfig(options: CommonOptions): LoadedConfig {
  return loadConfig(options.config);
}

/** Prints the answer: the JSON object, or the text made from it. */
export function say(options: CommonOptions, answer: unknown, text: () => string): void {
  process.stdout.write(options.json === true ? `${JSON.stringify(toWire(answer))}\n` : `${text()}\n`);
}

/** Talk, for a person who watches. */
export function tell(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Runs a command's body and turns what it throws into message, hint and exit code. */
export async function finish(options: CommonOptions, body: () => Promise<number> | Promise<void>): Promise<void> {
  try {
    process.exitCode = (await body()) ?? 0;
  } catch (error) {
    process.exitCode = error instanceof Fault ? (EXIT_CODES[error.code] ?? 1) : 1;
    report(options, error);
  }
}

function report(options: CommonOptions, error: unknown): void {
  const message = error instanceof Error ? error.message : String(error);
  const code = error instanceof Fault ? error.code : "internal";
  const hint = error instanceof Fault ? error.hint : "This is a defect in Lode; the stack says where.";
  if (options.json === true) process.stdout.write(`${JSON.stringify({ error: { code, message, hint } })}\n`);
  tell(`lode: ${message}`);
  if (hint !== "") tell(`hint: ${hint}`);
  if (!(error instanceof Fault) && error instanceof Error) tell(error.stack ?? "");
}

/** Aborts on Ctrl-C or `systemctl stop`; a second Ctrl-C ends at once. */
export function interruptSignal(): AbortSignal {
  const controller = new AbortController();
  const stop = (name: NodeJS.Signals) => {
    if (controller.signal.aborted) process.exit(130);
    controller.abort(new Error(name));
  };
  process.on("SIGINT", stop);
  process.on("SIGTERM", stop);
  return controller.signal;
}
