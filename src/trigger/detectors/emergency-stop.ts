/**
 * Emergency stop: a switch that says "stop" was released before and is pressed now.
 *
 * Input: every std_msgs/Bool on a topic whose last name part says emergency stop, e-stop, run stop or protective stop
 * (Clearpath `…/emergency_stop`, PAL `…/is_emergency`, HSR `…/runstop_button`, Husarion `…/e_stop`), true meaning
 * stopped; not requests to reset or release it. Condition per topic: the value, unknown until the switch was once seen
 * released: a robot is often started with it pressed. Typed states (industrial_msgs, Universal Robots, Franka …) are
 * expressions in the shipped rules.
 */
import { z } from "zod";
import type { Channel } from "../../model/channel.ts";
import {
  type Detector,
  type DetectorDeps,
  type DetectorKind,
  type Listener,
  readerOf,
  type Subject,
} from "../detector.ts";
import { plainTypeName } from "../seams.ts";

const parametersSchema = z.strictObject({
  /** Whether true means that the robot may move. */
  inverted: z.boolean().default(false),
});

const STOP = /emergency|run_?stop|(protective|safety|soft(ware)?)_?stop/i;
/** A word of its own, or in camel case: no `obstacle_stop`. */
const E_STOP = /(?<![A-Za-z])[Ee][-_]?(stop|Stop|STOP)|(?<=[a-z])E[-_]?[Ss]top/;
const NO_STATE = /reset|clear|release|trigger|request|enable|ack|led|lamp|light|_ok$|\/ok$/i;

export const emergencyStop: DetectorKind = {
  name: "emergency_stop",
  parameters: parametersSchema,
  roles: ["stop"],
  needs: "a std_msgs/Bool on a topic named emergency_stop, e_stop or runstop",
  recoversWhen: "cleared",
  clearForMs: 0,
  coolDownMs: 1000,
  open: (parameters, deps) => new EmergencyStop(parametersSchema.parse(parameters).inverted, deps),
};

class EmergencyStop implements Detector {
  readonly #isInverted: boolean;
  readonly #deps: DetectorDeps;
  readonly #switches = new Map<string, Subject>();

  constructor(isInverted: boolean, deps: DetectorDeps) {
    this.#isInverted = isInverted;
    this.#deps = deps;
  }

  bind(channel: Channel): Listener | undefined {
    const { topic } = channel;
    const named = this.#deps.topicOf("stop");
    const name = topic.slice(topic.lastIndexOf("/") + 1);
    const isStop = (STOP.test(name) || E_STOP.test(name)) && !NO_STATE.test(name);
    const isWanted = named === undefined ? isStop : topic === named;
    const read = readerOf(this.#deps.fields, channel, "data");
    if (!isWanted || read === undefined || plainTypeName(channel.schema.name) !== "std_msgs/Bool") return undefined;
    const subject = this.#switches.get(topic) ?? this.#deps.watch(topic, name);
    this.#switches.set(topic, subject);
    subject.values = () => ({ switch: topic });
    return (message) => {
      const value = read(message);
      if (typeof value !== "boolean") return;
      const isPressed = value !== this.#isInverted;
      if (!isPressed || subject.condition !== undefined) subject.condition = isPressed;
    };
  }

  describe(): readonly string[] {
    return [...this.#switches.keys()];
  }
}
