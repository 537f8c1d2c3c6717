/**
 * `lode check`: the configuration, the rules and the machine, each finding with its place and how to mend it; and what each
 * rule is bound to, as the running daemon says, or else by the topics that the bridge lists.
 */
import type { Config } from "../config/schema.ts";
import type { StatusAnswer } from "../control/answers.ts";
import { askDaemon } from "../control/client.ts";
import { checkConfig } from "../daemon/config-check.ts";
import { checkMachine } from "../daemon/machine-check.ts";
import { bindAtBridge } from "../daemon/rule-binding.ts";
import { systemClock } from "../std/clock.ts";
import { Fault } from "../std/fault.ts";
import { toWire } from "../std/wire.ts";
import { type CommonOptions, readConfig, say } from "./command.ts";
import { bindingTable, type RuleBinding } from "./rule-text.ts";
import { paint } from "./screen.ts";

const PROBLEMS_FOUND = 4;

export async function runCheck(options: CommonOptions): Promise<number> {
  const loaded = readConfig(options);
  const { config, files } = loaded;
  const rules = checkConfig(loaded);
  const armed = rules.filter((rule) => rule.isEnabled).map((rule) => rule.name);
  const findings = [
    {
      level: "ok",
      subject: "config",
      text: files.length === 0 ? "all defaults (no file)" : files.join(", "),
      hint: "",
    } as const,
    { level: "ok", subject: "rules", text: `${armed.length} armed: ${armed.join(", ")}`, hint: "" } as const,
    ...(await checkMachine(config, systemClock)),
  ];
  const binding = await askBinding(config, rules);
  const answer = { findings, rules: armed, boundBy: binding?.by, bindings: binding?.rules };
  say(options, answer, () => [...findings.map(findingText), ...bindingLines(binding)].join("\n"));
  return findings.some((finding) => finding.level === "problem") ? PROBLEMS_FOUND : 0;
}

type Binding = { readonly by: "daemon" | "bridge"; readonly rules: readonly RuleBinding[] };

/** undefined: neither a daemon nor the bridge tells. */
async function askBinding(config: Config, rules: ReturnType<typeof checkConfig>): Promise<Binding | undefined> {
  try {
    const status = await askDaemon<StatusAnswer>(config.telemetry.socket, "GET", "/v1/status");
    return { by: "daemon", rules: status.capture.rules };
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    const found = await bindAtBridge(config, rules);
    return found === undefined ? undefined : { by: "bridge", rules: toWire(found) };
  }
}

function bindingLines(binding: Binding | undefined): string[] {
  if (binding === undefined)
    return [paint("dim", "What the rules bind to is not known: no daemon, no list of topics.")];
  const who =
    binding.by === "daemon"
      ? "What the running daemon's rules watch:"
      : "What the rules would watch, by the bridge's list of topics (names of joints show with their first message):";
  return ["", who, bindingTable(binding.rules)];
}

const MARKS = { ok: paint("green", "ok     "), warning: paint("yellow", "warning"), problem: paint("red", "problem") };

function findingText({
  level,
  subject,
  text,
  hint,
}: {
  level: keyof typeof MARKS;
  subject: string;
  text: string;
  hint: string;
}): string {
  return `${MARKS[level]}  ${subject.padEnd(9)} ${text}${hint === "" ? "" : `\n${" ".repeat(19)}${paint("dim", hint)}`}`;
}
