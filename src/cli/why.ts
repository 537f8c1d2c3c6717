/**
 * `lode why [TOPIC|capture|upload]`: why a topic is silent, why nothing is captured, why nothing is uploaded: the reasons
 * in the order in which they count, each with its evidence; for capture, what each rule is bound to, or why it is not.
 */
import type { StatusAnswer, TopicAnswer, TopicsAnswer } from "../control/answers.ts";
import { askDaemon } from "../control/client.ts";
import { Fault } from "../std/fault.ts";
import { formatBytes, formatDuration } from "../std/time-text.ts";
import type { Wire } from "../std/wire.ts";
import { nearestHint } from "../std/yaml-file.ts";
import { type CommonOptions, readConfig, say } from "./command.ts";
import { bindingTable } from "./rule-text.ts";
import { paint } from "./screen.ts";

type Status = Wire<StatusAnswer>;
type Topic = Wire<TopicAnswer>;
/** `isFault`: it keeps something from happening; the others tell how things stand. */
export type Reason = { readonly reason: string; readonly evidence: string; readonly isFault: boolean };

export async function runWhy(subject: string | undefined, options: CommonOptions): Promise<void> {
  const { socket } = readConfig(options).config.telemetry;
  const [status, { topics }] = await Promise.all([
    askDaemon<StatusAnswer>(socket, "GET", "/v1/status"),
    askDaemon<TopicsAnswer>(socket, "GET", "/v1/topics"),
  ]);
  const subjects = subject === undefined ? ["capture", "upload"] : [subject];
  const answers = subjects.map((name) => answerOf(name, status, topics));
  say(options, { answers }, () => answers.map(answerText).join("\n\n"));
}

type Answer = {
  readonly subject: string;
  readonly reasons: readonly Reason[];
  readonly rules?: Status["capture"]["rules"];
};

function answerOf(subject: string, status: Status, topics: readonly Topic[]): Answer {
  if (subject === "capture") return { subject, reasons: whyCapture(status, topics), rules: status.capture.rules };
  if (subject === "upload") return { subject, reasons: whyUpload(status) };
  const topic = topics.find((entry) => entry.topic === subject);
  if (topic !== undefined) return { subject, reasons: whyTopic(topic, status) };
  const hint = nearestHint(
    subject,
    topics.map((entry) => entry.topic),
  );
  throw new Fault("bad_usage", `${subject} is no topic of this robot, nor "capture" or "upload".`, hint);
}

/** Why nothing is captured, from the robot towards the episode. */
export function whyCapture(status: Pick<Status, "source" | "ring" | "capture">, topics: readonly Topic[]): Reason[] {
  const { capture, ring } = status;
  const armed = capture.rules.filter(({ state }) => state !== "disabled");
  const bound = armed.filter(({ state }) => state === "bound");
  const fired = bound.filter(({ firings }) => firings > 0);
  const silent = topics.filter(({ silent_reason }) => silent_reason !== "");
  const total = fired.reduce((sum, { firings }) => sum + firings, 0);
  return [
    ...connectionFaults(status),
    ...(ring.state === "ok" ? [] : [fault("The ring takes nothing.", ring.state)]),
    ...(silent.length === 0 ? [] : [fault("Topics are silent.", namesOf(silent.map(({ topic }) => topic)))]),
    ...(bound.length > 0 ? [] : [fault("No rule is bound.", `${armed.length} rules wait, each for what stands below`)]),
    ...(capture.ignored_firings === 0
      ? []
      : [fault("Firings were ignored.", `${capture.ignored_firings} by on_overlap: ignore while an episode was open`)]),
    ...(capture.rules_problem === undefined
      ? []
      : [fault("New rules were refused; the old ones go on.", capture.rules_problem)]),
    ...bound.flatMap(({ rule, throttled }) =>
      throttled === undefined ? [] : [fault(`Rule ${rule} is throttled.`, throttled)],
    ),
    ...bound
      .filter(({ problems }) => problems.length > 0)
      .map(({ rule, problems }) => fault(`Rule ${rule} cannot be told in part.`, problems.join("; "))),
    ...bound
      .filter(({ is_dry_run }) => is_dry_run)
      .map(({ rule, firings }) => fact(`Rule ${rule} is on trial.`, `dry_run: ${firings} firings, no episode`)),
    fact("Rules", `${bound.length} of ${armed.length} bound, ${capture.rules.length - armed.length} switched off`),
    fact(
      "Firings",
      fired.length === 0
        ? "none: nothing happened that a bound rule knows"
        : `${total} of ${namesOf(fired.map(({ rule }) => rule))}`,
    ),
    ...(capture.open === undefined
      ? []
      : [fact("Episode open", `${capture.open.rule} since ${capture.open.start_time}`)]),
  ];
}

/** Why nothing is sent, from the queue towards the receiver. */
export function whyUpload({ upload }: Pick<Status, "upload">): Reason[] {
  const { queued_batches: queued, quarantined_batches: quarantined } = upload;
  return [
    ...(upload.receiver === "" ? [fault("No receiver is configured.", "upload.receivers is empty")] : []),
    ...(upload.alarm === "" ? [] : [fault("A person must look.", upload.alarm)]),
    ...(upload.is_open ? [] : [fault("The gate is closed.", upload.reasons.join("; "))]),
    ...(upload.retry_in_ms > 0 ? [fault("It waits to try again.", `for ${formatDuration(upload.retry_in_ms)}`)] : []),
    ...(quarantined > 0 ? [fault("Batches are in quarantine.", `${quarantined} (lode batches)`)] : []),
    fact("Queue", queued === 0 ? "nothing waits" : `${queued} batches, ${formatBytes(upload.queued_bytes)}`),
    fact("Link", upload.link),
    ...(upload.last_result === "" ? [] : [fact("Last attempt", upload.last_result)]),
  ];
}

/** Why a topic is silent, and who looks at it. */
export function whyTopic(topic: Topic, status: Pick<Status, "source" | "capture">): Reason[] {
  const watching = status.capture.rules.filter(({ bound_to }) => bound_to.some((what) => isAbout(what, topic.topic)));
  const drops = Object.entries(topic.accounting.dropped).filter(([, count]) => count > 0);
  return [
    ...connectionFaults(status),
    ...(topic.silent_reason === "" ? [] : [fault("It is silent.", topic.silent_reason)]),
    ...(topic.mode === "not_recorded"
      ? [fault("It is not recorded.", "topics.include, exclude or privacy leave it out")]
      : []),
    ...drops.map(([reason, count]) => fault("Messages were dropped.", `${count} ${reason}`)),
    fact("Type", `${topic.type}, class ${topic.class_name || "none"}`),
    fact("Rate", `${topic.rate_hz.toFixed(1)} Hz, ${formatBytes(topic.bytes_per_s)}/s, by ${topic.mode}`),
    ...(topic.last_message_time === undefined ? [] : [fact("Last message", topic.last_message_time)]),
    fact("Rules", watching.length === 0 ? "none looks at it" : namesOf(watching.map(({ rule }) => rule))),
  ];
}

function isAbout(boundTo: string, topic: string): boolean {
  return boundTo.split(/[\s:]+/).includes(topic);
}

function connectionFaults({ source }: Pick<Status, "source">): Reason[] {
  if (!source.is_connected) return [fault("The robot is not connected.", `${source.url}: ${source.reason}`)];
  return source.topic_count > 0 ? [] : [fault("The bridge lists no topic to record.", source.url)];
}

const NAMES_MAX = 5;

function namesOf(names: readonly string[]): string {
  const more = names.length - NAMES_MAX;
  return `${names.slice(0, NAMES_MAX).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

const fault = (reason: string, evidence: string): Reason => ({ reason, evidence, isFault: true });
const fact = (reason: string, evidence: string): Reason => ({ reason, evidence, isFault: false });

function answerText({ subject, reasons, rules }: Answer): string {
  const faults = reasons.filter(({ isFault }) => isFault);
  const title = faults.length === 0 ? paint("green", "nothing stands in its way") : paint("yellow", "in this order:");
  const lines = faults.map(({ reason, evidence }, index) => `  ${index + 1}. ${reason} ${evidence}`);
  const facts = reasons
    .filter(({ isFault }) => !isFault)
    .map(({ reason, evidence }) => `  ${paint("dim", reason.padEnd(14))}${evidence}`);
  const table = rules === undefined ? [] : [bindingTable(rules, [">firings"], firingCells(rules))];
  return [`${paint("bold", subject)}: ${title}`, ...lines, ...facts, ...table].join("\n");
}

function firingCells(rules: NonNullable<Answer["rules"]>): (binding: { readonly rule: string }) => string[] {
  const counts = new Map(rules.map(({ rule, firings }) => [rule, String(firings)]));
  return ({ rule }) => [counts.get(rule) ?? ""];
}
