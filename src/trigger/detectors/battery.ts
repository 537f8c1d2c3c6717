/**
 * Battery: a pack was well and is nearly empty, or reports that something is wrong with it.
 *
 * Input: every sensor_msgs/BatteryState. Three subjects a pack, each unknown until it was heard in order:
 * - *charge*: `percentage` < `low_share`, held until it is above `low_share` + 0.1. Drivers that count to 100 show it by
 *   a value above 1.5. Zero and NaN mean "not measured", and a pack that charges or is not there is not low.
 * - *voltage*: below `sag_share` of the highest voltage that it had. Three quarters of full are empty for every usual
 *   chemistry (a Li-ion cell 3.15 of 4.2 V, LiFePO4 2.7 of 3.6, NiMH 1.05 of 1.4, lead 10.8 of 14.4 V for six). Less than
 *   a quarter is a sensor that was switched off, and unknown.
 * - *health*: `power_supply_health` turned from GOOD or UNKNOWN to another state.
 * Low-passed over `smooth_ms`, for motors that start draw the voltage down.
 */
import { z } from "zod";
import type { Channel } from "../../model/channel.ts";
import {
  type Detector,
  type DetectorDeps,
  type DetectorKind,
  type Listener,
  numberOf,
  readerOf,
  type Subject,
} from "../detector.ts";
import { plainTypeName } from "../seams.ts";

const parametersSchema = z.strictObject({
  low_share: z.number().min(0.01).max(0.8).default(0.1),
  sag_share: z.number().min(0.3).max(0.99).default(0.75),
  smooth_ms: z.number().min(1).default(5000),
});
type Parameters = z.infer<typeof parametersSchema>;

const CHARGING = 1; // sensor_msgs/BatteryState, as are those below
const FULL = 4;
const HEALTH = ["unknown", "good", "overheat", "dead", "overvoltage", "failure", "cold", "watchdog", "safety timer"];
const HEALTH_GOOD = 1;
const HYSTERESIS_SHARE = 0.1;
const PERCENT_FROM = 1.5; // drivers that report a share go a little over 1
const OFF_SHARE = 0.25;
const SETTLE = 3; // time constants until a wrong first reading has gone

export const battery: DetectorKind = {
  name: "battery",
  parameters: parametersSchema,
  roles: ["battery"],
  needs: "a sensor_msgs/BatteryState",
  recoversWhen: "never",
  clearForMs: 10_000,
  coolDownMs: 60_000,
  open: (parameters, deps) => new Battery(parametersSchema.parse(parameters), deps),
};

const FIELDS = ["percentage", "voltage", "power_supply_status", "power_supply_health"] as const;
type Reading = Readonly<Record<(typeof FIELDS)[number], number>>;

class Battery implements Detector {
  readonly #parameters: Parameters;
  readonly #deps: DetectorDeps;
  readonly #packs = new Map<string, Pack>();

  constructor(parameters: Parameters, deps: DetectorDeps) {
    this.#parameters = parameters;
    this.#deps = deps;
  }

  bind(channel: Channel): Listener | undefined {
    const named = this.#deps.topicOf("battery");
    const isWanted = named === undefined || channel.topic === named;
    if (!isWanted || plainTypeName(channel.schema.name) !== "sensor_msgs/BatteryState") return undefined;
    const [percentage, voltage, status, health] = FIELDS.map((path) => readerOf(this.#deps.fields, channel, path));
    const pack = this.#packs.get(channel.topic) ?? new Pack(this.#parameters, this.#deps, channel.topic);
    this.#packs.set(channel.topic, pack);
    return (message, nowMs) =>
      pack.feel(
        {
          percentage: numberOf(percentage?.(message)),
          voltage: numberOf(voltage?.(message)),
          power_supply_status: numberOf(status?.(message)),
          power_supply_health: numberOf(health?.(message)),
        },
        nowMs,
      );
  }

  describe(): readonly string[] {
    return [...this.#packs.keys()];
  }
}

class Pack {
  readonly #parameters: Parameters;
  readonly #charge: Subject;
  readonly #voltage: Subject;
  readonly #health: Subject;
  readonly #smoothV: LowPass;
  readonly #smoothShare: LowPass;
  #highestV = 0;
  #firstMs = Number.NaN;
  #countsTo = 1;

  constructor(parameters: Parameters, deps: DetectorDeps, topic: string) {
    this.#parameters = parameters;
    this.#charge = deps.watch(topic, "charge");
    this.#voltage = deps.watch(topic, "voltage");
    this.#health = deps.watch(topic, "health");
    this.#smoothV = new LowPass(parameters.smooth_ms);
    this.#smoothShare = new LowPass(parameters.smooth_ms);
  }

  feel({ percentage, voltage, power_supply_status, power_supply_health }: Reading, nowMs: number): void {
    const isCharging = power_supply_status === CHARGING || power_supply_status === FULL;
    this.#judgeCharge(percentage, isCharging, nowMs);
    this.#judgeVoltage(voltage, isCharging, nowMs);
    this.#judgeHealth(power_supply_health);
  }

  #judgeCharge(percentage: number, isCharging: boolean, nowMs: number): void {
    const subject = this.#charge;
    if (percentage > PERCENT_FROM) this.#countsTo = 100;
    if (!(percentage > 0)) return;
    const share = this.#smoothShare.take(percentage / this.#countsTo, nowMs);
    const { low_share } = this.#parameters;
    const isHigh = share > low_share + HYSTERESIS_SHARE || isCharging;
    if (isHigh) subject.condition = false;
    else if (share < low_share && subject.condition === false) {
      subject.condition = true;
      subject.values = () => ({ charge_share: Math.round(share * 1000) / 1000, low_share });
    }
  }

  #judgeVoltage(voltage: number, isCharging: boolean, nowMs: number): void {
    const subject = this.#voltage;
    if (!(voltage > OFF_SHARE * this.#highestV)) {
      subject.condition = undefined;
      return;
    }
    const smoothV = this.#smoothV.take(voltage, nowMs);
    if (Number.isNaN(this.#firstMs)) this.#firstMs = nowMs;
    if (nowMs - this.#firstMs < SETTLE * this.#parameters.smooth_ms) return;
    this.#highestV = Math.max(this.#highestV, smoothV);
    const limitV = this.#parameters.sag_share * this.#highestV;
    subject.condition = smoothV < limitV && !isCharging;
    subject.values = () => ({ voltage_v: smoothV, limit_v: limitV });
  }

  #judgeHealth(health: number): void {
    const subject = this.#health;
    if (Number.isNaN(health)) return;
    if (health <= HEALTH_GOOD) subject.condition = false;
    else if (subject.condition === false) {
      subject.condition = true;
      subject.values = () => ({ health: HEALTH[health] ?? `state ${health}` });
    }
  }
}

/** First-order low-pass over uneven steps of time. */
class LowPass {
  readonly #smoothMs: number;
  #value = Number.NaN;
  #lastMs = 0;

  constructor(smoothMs: number) {
    this.#smoothMs = smoothMs;
  }

  take(value: number, nowMs: number): number {
    const share = Number.isNaN(this.#value) ? 1 : 1 - Math.exp((this.#lastMs - nowMs) / this.#smoothMs);
    this.#value = (Number.isNaN(this.#value) ? 0 : this.#value) * (1 - share) + share * value;
    this.#lastMs = nowMs;
    return this.#value;
  }
}
