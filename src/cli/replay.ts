/** `lode replay FILE…`: a recording, served as a robot behind rosbridge. */
import { Definitions } from "../decode/definitions.ts";
import { runReplay } from "../replay/replay-command.ts";
import { Fault } from "../std/fault.ts";
import { type CommonOptions, interruptSignal, readConfig, say, tell } from "./command.ts";

export type ReplayCommandOptions = CommonOptions & {
  readonly port: string;
  readonly rate: string;
  readonly loop?: boolean;
};

export async function runReplayCommand(files: readonly string[], options: ReplayCommandOptions): Promise<void> {
  const port = Number(options.port);
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new Fault("bad_usage", `"${options.port}" is not a port.`, "Give a number from 0 (any free one) to 65535.");
  const definitions = Definitions.open({ folders: readConfig(options).config.topics.msg_folders });
  const summary = await runReplay(
    { files, port, rate: Number(options.rate), isLooping: options.loop === true },
    { talk: tell },
    interruptSignal(),
    { findDefinition: (typeName, ros) => definitions.find(typeName, ros) },
  );
  say(options, summary, () => `${summary.played.reduce((sum, { messages }) => sum + messages, 0)} messages played.`);
}
