/** `lode check`: the configuration, the rules and the machine; each finding with its place and how to mend it. */
import { checkConfig } from "../daemon/config-check.ts";
import { checkMachine } from "../daemon/machine-check.ts";
import { systemClock } from "../std/clock.ts";
import { type CommonOptions, readConfig, say } from "./command.ts";
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
  say(options, { findings, rules: armed }, () => findings.map(findingText).join("\n"));
  return findings.some((finding) => finding.level === "problem") ? PROBLEMS_FOUND : 0;
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
