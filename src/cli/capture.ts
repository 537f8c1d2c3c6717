/** `lode capture`: a person's firing; `lode label`: a person's words about an episode. */
import { userInfo } from "node:os";
import type { CaptureAnswer, EpisodeAnswer } from "../control/answers.ts";
import { askDaemon } from "../control/client.ts";
import { Fault } from "../std/fault.ts";
import { parseDurationMs } from "../std/time-text.ts";
import { type CommonOptions, readConfig, say } from "./command.ts";

export type CaptureOptions = CommonOptions & {
  readonly pre: string;
  readonly post: string;
  readonly label?: readonly string[];
  readonly note?: string;
};

export async function runCapture(options: CaptureOptions): Promise<void> {
  const { config } = readConfig(options);
  const body = {
    pre_roll_ms: parseDurationMs(options.pre),
    post_roll_ms: parseDurationMs(options.post),
    labels: Object.fromEntries((options.label ?? []).map(parseLabel)),
    note: options.note ?? "",
  };
  const answer = await askDaemon<CaptureAnswer>(config.telemetry.socket, "POST", "/v1/capture", body);
  say(
    options,
    answer,
    () =>
      `Capturing: ${options.pre} before, ${options.post} after. Episode ${answer.episode_id} (lode episodes ${answer.episode_id.slice(0, 13)}).`,
  );
}

export type LabelOptions = CommonOptions & { readonly note?: string; readonly outcome?: string };

export async function runLabel(id: string, labels: readonly string[], options: LabelOptions): Promise<void> {
  const { config } = readConfig(options);
  const { note, outcome } = options;
  const body = { labels: Object.fromEntries(labels.map(parseLabel)), note, outcome, author: userInfo().username };
  const answer = await askDaemon<EpisodeAnswer>(
    config.telemetry.socket,
    "POST",
    `/v1/episodes/${encodeURIComponent(id)}/label`,
    body,
  );
  const { episode } = answer;
  say(options, answer, () => {
    const all = Object.entries(episode.labels).map(([key, value]) => `${key}=${value}`);
    return `${episode.id}: ${episode.outcome}, ${all.join(" ") || "no labels"}${episode.note === "" ? "" : `\n${episode.note}`}`;
  });
}

function parseLabel(text: string): [string, string] {
  const equals = text.indexOf("=");
  if (equals < 1) throw new Fault("bad_usage", `"${text}" is not a label.`, "Write --label key=value.");
  return [text.slice(0, equals), text.slice(equals + 1)];
}
