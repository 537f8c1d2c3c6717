/** Every detector that a rule can name. */
import type { DetectorKind } from "../detector.ts";
import { diagnosticsLevel } from "./diagnostics-level.ts";
import { fall } from "./fall.ts";
import { lostGrasp, missedGrasp, slip } from "./lost-grasp.ts";
import { overCurrent } from "./over-current.ts";
import { staleTopic } from "./stale-topic.ts";
import { stall } from "./stall.ts";

export type { DetectorKind } from "../detector.ts";

export const detectorKinds: ReadonlyMap<string, DetectorKind> = new Map(
  [diagnosticsLevel, fall, lostGrasp, missedGrasp, overCurrent, slip, staleTopic, stall].map((kind) => [
    kind.name,
    kind,
  ]),
);
