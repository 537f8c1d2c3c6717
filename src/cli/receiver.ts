/** `lode receiver …`: the central endpoint, who may send to it, and what has come. */
import type { Config } from "../config/schema.ts";
import { RECEIVER_DEFAULTS, Receiver } from "../receiver/receiver.ts";
import { systemClock } from "../std/clock.ts";
import { Fault } from "../std/fault.ts";
import { formatBytes, formatTime } from "../std/time-text.ts";
import { aborted } from "../std/wait.ts";
import { openLog } from "../telemetry/log.ts";
import { type CommonOptions, interruptSignal, readConfig, say, tell } from "./command.ts";
import { field, outcomeText, paint, table } from "./screen.ts";

export type EpisodeListOptions = CommonOptions & {
  readonly robot?: string;
  readonly rule?: string;
  readonly outcome?: string;
  readonly from?: string;
  readonly after?: string;
  readonly limit: string;
};

function openReceiver(config: Config): Receiver {
  const { listen, folder, batch_bytes_max, free_bytes_min } = config.receiver;
  const colon = listen.lastIndexOf(":");
  const port = Number(listen.slice(colon + 1));
  if (colon < 1 || !Number.isInteger(port))
    throw new Fault("bad_config", `receiver.listen is "${listen}".`, 'Write host:port, such as "0.0.0.0:8480".');
  const options = {
    ...RECEIVER_DEFAULTS,
    folder,
    host: listen.slice(0, colon),
    port,
    batchBytesMax: batch_bytes_max,
    freeBytesMin: free_bytes_min,
  };
  return Receiver.open(options, { clock: systemClock, log: openLog(config.telemetry.log_level, "receiver") });
}

export async function runReceiver(options: CommonOptions): Promise<void> {
  await using receiver = openReceiver(readConfig(options).config);
  const signal = interruptSignal();
  const { url, port } = await receiver.listen();
  const answer = { url, port, folder: receiver.folder, publicKey: receiver.publicKey };
  say(options, answer, () =>
    [
      field("listening", url),
      field("folder", receiver.folder),
      field("key", `${receiver.publicKey}  (robots pin it: upload.receivers[].public_keys)`),
    ].join("\n"),
  );
  await aborted(signal);
}

export async function runReceiverRobots(options: CommonOptions): Promise<void> {
  await using receiver = openReceiver(readConfig(options).config);
  const robots = receiver.robots();
  say(options, { robots }, () =>
    robots.length === 0
      ? "No robot is enrolled. Enrol one: lode receiver robots add ID."
      : table(
          ["robot", "enrolled"],
          robots.map((robot) => [robot.name, formatTime(robot.addedNs)]),
        ),
  );
}

export async function addRobot(id: string, options: CommonOptions): Promise<void> {
  await using receiver = openReceiver(readConfig(options).config);
  const token = receiver.addRobot(id);
  tell("The token is shown this once. On the robot, put it into the file that upload.receivers[].token_file names.");
  say(options, { robot: id, token, publicKey: receiver.publicKey }, () =>
    [field("robot", id), field("token", token), field("key", receiver.publicKey)].join("\n"),
  );
}

export async function removeRobot(id: string, options: CommonOptions): Promise<void> {
  await using receiver = openReceiver(readConfig(options).config);
  if (!receiver.removeRobot(id))
    throw new Fault("no_such_robot", `No robot "${id}" is enrolled.`, "`lode receiver robots` lists them.");
  say(options, { removed: id }, () => `${id} may no longer send. What it sent stays.`);
}

/** A program that follows the catalog over HTTP (`GET /v1/episodes`) has a token of its own. */
export async function addReader(name: string, options: CommonOptions): Promise<void> {
  await using receiver = openReceiver(readConfig(options).config);
  const token = receiver.addReader(name);
  say(options, { reader: name, token }, () => [field("reader", name), field("token", token)].join("\n"));
}

export async function removeReader(name: string, options: CommonOptions): Promise<void> {
  await using receiver = openReceiver(readConfig(options).config);
  if (!receiver.removeReader(name))
    throw new Fault("no_such_reader", `There is no reader "${name}".`, "Names are those given to `readers add`.");
  say(options, { removed: name }, () => `${name} may no longer read.`);
}

export async function runReceiverEpisodes(id: string | undefined, options: EpisodeListOptions): Promise<void> {
  await using receiver = openReceiver(readConfig(options).config);
  if (id !== undefined) return showEpisode(receiver, id, options);
  const { robot, rule, outcome, from } = options;
  const episodes = await receiver.episodes({
    after: Number(options.after ?? 0),
    robot,
    rule,
    outcome,
    from,
    limit: Number(options.limit),
  });
  const answer = {
    episodes: episodes.map((episode) => ({ ...episode, files: receiver.files(episode) })),
    cursor: episodes.at(-1)?.cursor ?? Number(options.after ?? 0),
  };
  say(options, answer, () => {
    if (episodes.length === 0) return "No episodes have come yet.";
    const rows = episodes.map(({ id, robot, summary, batches }) => [
      id.slice(0, 13),
      robot,
      summary?.startTime.slice(0, 19) ?? "",
      summary?.rule ?? paint("dim", "(manifest not here yet)"),
      outcomeText(summary?.outcome ?? ""),
      String(summary?.attempts ?? ""),
      `${batches.length}/${summary?.batchCount ?? "?"}`,
    ]);
    return table(["id", "robot", "start", "rule", "outcome", ">attempts", ">batches"], rows);
  });
}

async function showEpisode(receiver: Receiver, id: string, options: CommonOptions): Promise<void> {
  const episode = await receiver.findEpisode(id);
  if (episode === undefined)
    throw new Fault("no_such_episode", `No episode ${id} has come.`, "`lode receiver episodes` lists them.");
  const files = receiver.files(episode);
  say(options, { ...episode, files }, () =>
    [
      `${paint("bold", episode.summary?.rule ?? "")} · ${outcomeText(episode.summary?.outcome ?? "")} · attempts ${episode.summary?.attempts ?? "?"}`,
      field("robot", episode.robot),
      field("start", episode.summary?.startTime ?? ""),
      ...files.map((file) => field("", file)),
    ].join("\n"),
  );
}

/** Exit code 1 where something that has a receipt is not whole. */
export async function runFsck(options: CommonOptions & { readonly repair?: boolean }): Promise<number> {
  await using receiver = openReceiver(readConfig(options).config);
  const result = await receiver.fsck(options.repair === true);
  say(options, result, () => {
    const title = `${result.batches} batches, ${result.blobs} blobs, ${formatBytes(result.bytes)}`;
    if (result.problems.length === 0) return `${title}: every receipt's blob is there and hashes right.`;
    const rows = result.problems.map(({ kind, sha256, batches, isRemoved }) => [
      paint("red", kind),
      sha256.slice(0, 16),
      batches.map(({ robot, batch }) => `${robot}/${batch}`).join(" "),
      isRemoved ? "removed" : "",
    ]);
    return [title, table(["problem", "sha256", "batches", ""], rows)].join("\n");
  });
  return result.problems.some(({ isRemoved }) => !isRemoved) ? 1 : 0;
}
