/** `lode demo`: robot, bridge, daemon and receiver on this machine, as a story. */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Demo, type DemoResult } from "../daemon/demo.ts";
import { DEMO_SEED } from "../demo/robot.ts";
import { Fault } from "../std/fault.ts";
import { type CommonOptions, interruptSignal, say, tell } from "./command.ts";
import { field, outcomeText, paint } from "./screen.ts";

export type DemoCommandOptions = CommonOptions & {
  readonly episodes: string;
  readonly seconds?: string;
  readonly seed?: string;
  readonly folder?: string;
  readonly hideBelief?: boolean;
};

/** Without --episodes 0 a demo that finds nothing in this time has failed. */
const SECONDS_MAX = 60;
const WIDTHS = { robot: "cyan", lode: "magenta", receiver: "green" } as const;

export async function runDemo(options: DemoCommandOptions): Promise<number> {
  const episodesWanted = wholeNumber("--episodes", options.episodes);
  const startMs = performance.now();
  const result = await Demo.run(
    {
      seed: options.seed === undefined ? DEMO_SEED : wholeNumber("--seed", options.seed),
      episodesWanted,
      secondsMax:
        options.seconds === undefined
          ? episodesWanted === 0
            ? Number.POSITIVE_INFINITY
            : SECONDS_MAX * episodesWanted
          : wholeNumber("--seconds", options.seconds),
      folder: options.folder ?? mkdtempSync(join(tmpdir(), "lode-demo-")),
      isBeliefHidden: options.hideBelief === true,
    },
    (who, text) => {
      const at = ((performance.now() - startMs) / 1000).toFixed(1).padStart(5);
      tell(`${paint("dim", `${at} s`, process.stderr)}  ${paint(WIDTHS[who], who.padEnd(8), process.stderr)}  ${text}`);
    },
    interruptSignal(),
  );
  say(options, result, () => summary(result));
  const home = result.episodes.filter((episode) => episode.receipt?.verified === true).length;
  const isFine = result.missed.length === 0 && result.false.length === 0 && home >= episodesWanted;
  return isFine ? 0 : 1;
}

function summary(result: DemoResult): string {
  const lines = result.episodes.map((episode) => {
    const truth =
      episode.truth === undefined
        ? paint("red", "nothing happened")
        : `${episode.truth.event}, ${episode.truth.outcome}, attempts ${episode.truth.attempts}`;
    return field(
      "episode",
      `${paint("bold", episode.rule)} · ${outcomeText(episode.outcome)} · attempts ${episode.attempts}   ${paint("dim", `simulator: ${truth}`)}`,
    );
  });
  const files = result.episodes.flatMap((episode) => episode.files);
  return [
    "",
    ...lines,
    field(
      "missed",
      result.missed.length === 0
        ? paint("green", "nothing")
        : paint("red", result.missed.map((entry) => `${entry.event} at ${entry.atS.toFixed(1)} s`).join(", ")),
    ),
    field(
      "false",
      result.false.length === 0
        ? paint("green", "nothing")
        : paint("red", result.false.map((entry) => `${entry.rule}: ${entry.reason}`).join(", ")),
    ),
    field(
      "cost",
      `${Math.round((result.cpuSeconds / result.seconds) * 100)} % of a core for everything, over ${Math.round(result.seconds)} s`,
    ),
    ...files.map((file, index) => field(index === 0 ? "files" : "", file)),
    field("", paint("dim", "open them in any MCAP viewer; everything of this run is in the folder")),
    field("folder", result.folder),
  ].join("\n");
}

function wholeNumber(name: string, text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 0) return value;
  throw new Fault("bad_usage", `${name} is "${text}".`, "Give a whole number from 0.");
}
