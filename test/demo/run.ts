/** Runs the demo robot as fast as it goes and keeps what it says. */
import type { TopicName } from "../../src/demo/messages.ts";
import { DemoRobot, type StoryEvent } from "../../src/demo/robot.ts";
import { Simulation, type WorldState } from "../../src/demo/simulation.ts";
import type { TaskTruth } from "../../src/demo/truth.ts";

export type Run = {
  readonly robot: DemoRobot;
  readonly messages: { readonly topic: TopicName; readonly bytes: Uint8Array; readonly stampNs: bigint }[];
  readonly story: StoryEvent[];
};

export const START_NS = 1_800_000_000_000_000_000n;

/** `onStep` sees the world after each step. */
export async function runRobot(seed: number, seconds: number, onStep?: (state: WorldState) => void): Promise<Run> {
  const messages: Run["messages"] = [];
  const story: StoryEvent[] = [];
  const robot = DemoRobot.open(
    { seed, startNs: START_NS, mix: "everyday" },
    {
      onMessage: (topic, bytes, stampNs) => messages.push({ topic, bytes, stampNs }),
      onStory: (event) => story.push(event),
    },
    await Simulation.open(),
  );
  while (robot.timeS < seconds) {
    robot.step();
    onStep?.(robot.state());
  }
  return { robot, messages, story };
}

export function tasksOf(story: readonly StoryEvent[]): TaskTruth[] {
  return story.flatMap((event) => (event.kind === "task_ended" ? [event.truth] : []));
}
