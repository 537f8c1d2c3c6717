/** Puts an episode's operation record together: from the configuration, from what the robot says, from this machine. */
import { release, type as systemName } from "node:os";
import type { Config } from "../config/schema.ts";
import { judgePhysics, type Operation, TASK_TYPE_LABEL } from "../model/operation.ts";
import type { Said } from "./robot-words.ts";
import { VERSION } from "./version.ts";

const SITE_LABEL = "site";

/** Of an episode that opens now; its own labels may name another task type. */
export function describeOperation(robot: Config["robot"], { labels, signs, ros }: Said): Operation {
  const software = [
    { name: "lode", version: VERSION },
    { name: "node", version: process.version },
    { name: systemName(), version: release() },
    ...(ros === "" ? [] : [{ name: "ros", version: ros }]),
    ...Object.entries(robot.software).map(([name, version]) => ({ name, version })),
  ];
  return {
    ...{ taskType: labels[TASK_TYPE_LABEL] ?? robot.task_type, robot: robot.id, site: siteOf(robot, labels) },
    ...{ embodiment: robot.embodiment, software, physics: judgePhysics(robot.physics, signs) },
  };
}

export function siteOf(robot: Config["robot"], labels: Said["labels"]): string {
  return labels[SITE_LABEL] ?? robot.site;
}
