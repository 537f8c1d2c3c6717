/** `lode topics`: every topic with its rate, what became of its messages, and why it is silent. */
import type { TopicsAnswer } from "../control/answers.ts";
import { askDaemon } from "../control/client.ts";
import { formatBytes } from "../std/time-text.ts";
import { type CommonOptions, readConfig, say } from "./command.ts";
import { paint, table } from "./screen.ts";

export async function runTopics(options: CommonOptions): Promise<void> {
  const { config } = readConfig(options);
  const answer = await askDaemon<TopicsAnswer>(config.telemetry.socket, "GET", "/v1/topics");
  say(options, answer, () => {
    if (answer.topics.length === 0) return "No topics yet: the bridge is away, or nothing is published (lode check).";
    const rows = answer.topics.map((topic) => [
      topic.topic,
      topic.type,
      topic.class_name,
      topic.silent_reason === "" ? topic.rate_hz.toFixed(1) : paint("yellow", "silent"),
      topic.silent_reason === "" ? `${formatBytes(topic.bytes_per_s)}/s` : "",
      String(topic.accounting.stored),
      String(topic.accounting.in_memory),
      String(topic.accounting.reduced),
      String(Object.values(topic.accounting.dropped).reduce((sum, count) => sum + count, 0)),
      topic.silent_reason === "" ? topic.mode : paint("yellow", topic.silent_reason),
    ]);
    return table(["topic", "type", "class", ">Hz", ">rate", ">stored", ">memory", ">reduced", ">dropped", "how"], rows);
  });
}
