/**
 * The command line: which commands there are and what they take. Each command's work is in its own file, loaded when
 * it is asked for: `lode status` must not wait for the simulator to load.
 */
import { Command, type CommanderError } from "commander";
import { VERSION } from "../daemon/version.ts";
import type { BacktestCommandOptions } from "./backtest.ts";
import type { CaptureOptions, LabelOptions } from "./capture.ts";
import { type CommonOptions, finish } from "./command.ts";
import type { DemoCommandOptions } from "./demo.ts";
import type { ExportCommandOptions } from "./export.ts";
import type { EpisodeListOptions } from "./receiver.ts";
import type { ReplayCommandOptions } from "./replay.ts";

const USAGE = 2;

/** The parser has said it on stderr already; who asked for JSON gets that too. */
function endParsing(error: CommanderError): never {
  if (error.exitCode === 0) process.exit(0);
  if (process.argv.includes("--json")) {
    const message = error.message.replace(/^error: /, "");
    const answer = { error: { code: "bad_usage", message, hint: "lode --help shows what there is." } };
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
  process.exit(USAGE);
}

const program = new Command("lode")
  .description("The flight recorder and data engine that runs on a robot.")
  .version(VERSION)
  .enablePositionalOptions()
  .showHelpAfterError("(lode --help shows what there is)")
  .exitOverride(endParsing);

/** Every command takes --json and --config, and shows an example in its help. */
function command(parent: Command, name: string, description: string, example: string): Command {
  return parent
    .command(name)
    .enablePositionalOptions()
    .description(description)
    .option("--json", "one JSON object with stable names")
    .option("--config <file>", "configuration file (default /etc/lode/lode.yaml)")
    .addHelpText("after", `\nExample:\n  ${example}`)
    .exitOverride(endParsing);
}

command(program, "run", "the daemon, in the foreground", "lode run --config /etc/lode/lode.yaml").action(
  (options: CommonOptions) => finish(options, async () => (await import("./run.ts")).runDaemon(options)),
);
command(program, "check", "validate configuration, rules and machine", "lode check").action((options: CommonOptions) =>
  finish(options, async () => (await import("./check.ts")).runCheck(options)),
);
command(program, "status", "one screen: connection, ring, capture, upload, accounting", "lode status").action(
  (options: CommonOptions) => finish(options, async () => (await import("./status.ts")).runStatus(options)),
);
command(program, "topics", "every topic: rate, stored, reduced, dropped, silent and why", "lode topics").action(
  (options: CommonOptions) => finish(options, async () => (await import("./topics.ts")).runTopics(options)),
);
command(
  program,
  "why",
  "why a topic is silent, nothing is captured, nothing is uploaded; what each rule is bound to",
  "lode why capture",
)
  .argument("[subject]", "a topic, capture or upload (default: both)")
  .action((subject: string | undefined, options: CommonOptions) =>
    finish(options, async () => (await import("./why.ts")).runWhy(subject, options)),
  );
command(
  program,
  "hours",
  "operating hours of this robot: on, moving, tasks, failures by rule, recoveries",
  "lode hours --csv",
)
  .option("--csv", "a line for each robot, site and boot")
  .action((options: CommonOptions & { csv?: boolean }) =>
    finish(options, async () => (await import("./hours.ts")).runHours(options)),
  );
command(program, "episodes", "list episodes, or show one", "lode episodes 019a3c5e")
  .argument("[id]", "an episode's id or a unique beginning of it")
  .action((id: string | undefined, options: CommonOptions) =>
    finish(options, async () => (await import("./episodes.ts")).runEpisodes(id, options)),
  );
command(program, "label", "annotate an episode", "lode label 019a3c5e object=cup --outcome recovered")
  .argument("<id>", "an episode's id or a unique beginning of it")
  .argument("[key=value...]", "labels")
  .option("--note <text>", "what a person saw")
  .option("--outcome <outcome>", "recovered, failed, operator_took_over, succeeded or unknown")
  .action((id: string, labels: string[], options: LabelOptions) =>
    finish(options, async () => (await import("./capture.ts")).runLabel(id, labels, options)),
  );
command(
  program,
  "capture",
  "a person's firing: keep what is around now",
  'lode capture --pre 30s --post 10s --note "hit the shelf"',
)
  .option("--pre <duration>", "how far back", "30s")
  .option("--post <duration>", "how far on", "10s")
  .option("--label <key=value...>", "labels for the episode")
  .option("--note <text>", "what a person saw")
  .action((options: CaptureOptions) => finish(options, async () => (await import("./capture.ts")).runCapture(options)));
command(
  program,
  "export",
  "a range of the ring, an episode, or received files",
  "lode export --from -10m --to now -o last.mcap",
)
  .argument("[id...]", "an episode's id, or paths of received .mcap files")
  .option("--from <time>", "RFC 3339, -10m, or ns")
  .option("--to <time>", "the same, or now")
  .option("--topics <glob...>", "only these topics")
  .option("--format <format>", "mcap or csv", "mcap")
  .option("--corrected", "true times in place of log_time, where a clock was wrong (publish_time stays)")
  .requiredOption("-o, --output <path>", "a file (mcap) or a folder (csv)")
  .action((ids: string[], options: ExportCommandOptions) =>
    finish(options, async () => (await import("./export.ts")).runExport(ids, options)),
  );
command(program, "batches", "what waits to be sent, and what was", "lode batches").action((options: CommonOptions) =>
  finish(options, async () => (await import("./batches.ts")).runBatches(options)),
);
command(program, "pause", "stop sending (recording goes on)", "lode pause upload --for 1h")
  .argument("<what>", "upload")
  .option("--for <duration>", "resume by itself after this time")
  .action((what: string, options: CommonOptions & { for?: string }) =>
    finish(options, () => onlyUpload(what, async () => (await import("./batches.ts")).runPause(options))),
  );
command(program, "resume", "send again", "lode resume upload")
  .argument("<what>", "upload")
  .action((what: string, options: CommonOptions) =>
    finish(options, () => onlyUpload(what, async () => (await import("./batches.ts")).runResume(options))),
  );
command(
  program,
  "replay",
  "serve recordings (.mcap, .bag, .db3) as a robot behind rosbridge",
  "lode replay run.mcap --port 9090",
)
  .argument("<file...>", "recordings, played one after the other")
  .option("--port <port>", "port to listen on; 0: any free one", "9090")
  .option("--rate <x>", "times the recorded speed", "1")
  .option("--loop", "begin again at the end")
  .action((files: string[], options: ReplayCommandOptions) =>
    finish(options, async () => (await import("./replay.ts")).runReplayCommand(files, options)),
  );
command(
  program,
  "backtest",
  "what the rules would have caught in recordings or in the ring, and at what cost",
  "lode backtest run.mcap --rules new.yaml --against old.yaml",
)
  .argument("[path...]", "recordings (.mcap, .bag, .db3)")
  .option("--ring", "this robot's own ring instead, each boot for itself")
  .option("--from <time>", "of the ring: from this time on (RFC 3339, -10m, ns)")
  .option("--to <time>", "of the ring: up to this time")
  .option("--rules <file...>", "these rules instead of the configured ones")
  .option("--against [file...]", "what changes against these rules; without a file, against the configured ones")
  .option("--exclude <glob...>", "topics that the rules must not see")
  .action((paths: string[], options: BacktestCommandOptions) =>
    finish(options, async () => (await import("./backtest.ts")).runBacktest(paths, options)),
  );
command(
  program,
  "demo",
  "a simulated robot fails, recovers, is captured, uploaded and verified",
  "lode demo --episodes 3 --seed 12",
)
  .option("--episodes <n>", "end after so many failure episodes are home; 0: go on until Ctrl-C", "1")
  .option("--seconds <n>", "end after this time")
  .option("--seed <n>", "of the robot's variation (default: one that fails soon)")
  .option("--folder <dir>", "where everything is kept (default: a new temporary folder)")
  .option("--hide-belief", "keep what the controller believes from the rules: sensors alone must tell")
  .action((options: DemoCommandOptions) => finish(options, async () => (await import("./demo.ts")).runDemo(options)));

const receiver = command(
  program,
  "receiver",
  "the central endpoint that batches go to",
  "lode receiver --config receiver.yaml",
).action((options: CommonOptions) => finish(options, async () => (await import("./receiver.ts")).runReceiver(options)));
const robots = command(receiver, "robots", "who may send", "lode receiver robots").action((options: CommonOptions) =>
  finish(options, async () => (await import("./receiver.ts")).runReceiverRobots(options)),
);
command(robots, "add", "enrol a robot; prints its token once", "lode receiver robots add arm-7")
  .argument("<id>")
  .action((id: string, options: CommonOptions) =>
    finish(options, async () => (await import("./receiver.ts")).addRobot(id, options)),
  );
command(robots, "remove", "its token is worth nothing from now on", "lode receiver robots remove arm-7")
  .argument("<id>")
  .action((id: string, options: CommonOptions) =>
    finish(options, async () => (await import("./receiver.ts")).removeRobot(id, options)),
  );
const readers = command(receiver, "readers", "programs that may list and fetch", "lode receiver readers add trainer");
command(readers, "add", "prints the reader's token once", "lode receiver readers add trainer")
  .argument("<name>")
  .action((name: string, options: CommonOptions) =>
    finish(options, async () => (await import("./receiver.ts")).addReader(name, options)),
  );
command(readers, "remove", "its token is worth nothing from now on", "lode receiver readers remove trainer")
  .argument("<name>")
  .action((name: string, options: CommonOptions) =>
    finish(options, async () => (await import("./receiver.ts")).removeReader(name, options)),
  );
command(receiver, "episodes", "what has come; one of them with its files", "lode receiver episodes --outcome recovered")
  .argument("[id]")
  .option("--robot <id>")
  .option("--rule <name>")
  .option("--outcome <name>")
  .option("--from <time>", "RFC 3339")
  .option("--after <cursor>", "only what changed since")
  .option("--limit <n>", "at most so many", "100")
  .action((id: string | undefined, options: EpisodeListOptions) =>
    finish(options, async () => (await import("./receiver.ts")).runReceiverEpisodes(id, options)),
  );
command(receiver, "fsck", "every receipt's blob is there and hashes right", "lode receiver fsck --repair")
  .option("--repair", "remove blobs that no receipt names")
  .action((options: CommonOptions & { repair?: boolean }) =>
    finish(options, async () => (await import("./receiver.ts")).runFsck(options)),
  );

async function onlyUpload(what: string, body: () => Promise<void>): Promise<void> {
  if (what !== "upload") program.error(`error: "${what}" cannot be paused; only upload can`);
  await body();
}

await program.parseAsync();
