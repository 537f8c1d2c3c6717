/** `lode batches`, `lode pause upload`, `lode resume upload`: the queue, and a person's word in it. */
import type { BatchesAnswer, PauseAnswer } from "../control/answers.ts";
import { askDaemon } from "../control/client.ts";
import { formatBytes, formatDuration, parseDurationMs } from "../std/time-text.ts";
import { type CommonOptions, readConfig, say } from "./command.ts";
import { paint, table } from "./screen.ts";

export async function runBatches(options: CommonOptions): Promise<void> {
  const { config } = readConfig(options);
  const answer = await askDaemon<BatchesAnswer>(config.telemetry.socket, "GET", "/v1/batches");
  say(options, answer, () => {
    if (answer.batches.length === 0) return "No batches: nothing was captured yet, or all of it is home.";
    const rows = answer.batches.map((batch) => [
      batch.id.slice(0, 13),
      batch.episode_id.slice(0, 13),
      batch.index === 0 ? batch.kind : `${batch.kind}-${batch.index}`,
      formatBytes(batch.size_bytes),
      batch.state === "quarantined" ? paint("red", batch.state) : batch.state,
      formatDuration(Date.now() - Date.parse(batch.created_time)),
      String(batch.attempts),
      batch.reason,
    ]);
    return table(["batch", "episode", "kind", ">size", "state", ">age", ">attempts", ""], rows);
  });
}

export async function runPause(options: CommonOptions & { readonly for?: string }): Promise<void> {
  const { config } = readConfig(options);
  const body = options.for === undefined ? {} : { for_ms: parseDurationMs(options.for) };
  const answer = await askDaemon<PauseAnswer>(config.telemetry.socket, "POST", "/v1/upload/pause", body);
  say(
    options,
    answer,
    () =>
      `Upload is paused ${answer.until_time === undefined ? "until `lode resume upload`" : `until ${answer.until_time}`}. Recording goes on.`,
  );
}

export async function runResume(options: CommonOptions): Promise<void> {
  const { config } = readConfig(options);
  const answer = await askDaemon<PauseAnswer>(config.telemetry.socket, "POST", "/v1/upload/resume", {});
  say(options, answer, () => "Upload goes on.");
}
