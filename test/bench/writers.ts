/** Peers that only write: no socket, no daemon, messages in memory, one file, an fsync at its end. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Child, ROOT } from "../support/child.ts";
import type { QuotedPeer } from "./bench.ts";
import type { MixName } from "./robot-streams.ts";

export type Written = { readonly seconds: number; readonly cpuSeconds: number; readonly bytes: number };
/** CPU seconds per GB of payload. */
export type Writers = Readonly<Record<string, number | QuotedPeer>>;

const GIGABYTES = 1;
const QUOTED_FROM = "Lode's design papers: prototypes on two quiet x86-64 cores";
/** CPU seconds per GB of a camera mix. */
const QUOTED = { mcap_cpp: 1.2, rosbag_cpp: 1.06 } as const;
/** ROS 2's packages in Debian put each of these in a folder of its own. */
const ROSBAG_INCLUDES = ["pluginlib", "class_loader", "rcpputils", "rcutils", "ament_index_cpp"];
const ROSBAG_LIBRARIES = ["rosbag_storage", "roscpp_serialization", "rostime", "topic_tools", "class_loader"];

/** Of the camera mix. */
export async function measureWriters(folder: string): Promise<Writers> {
  const mix: MixName = "camera";
  const dump = join(folder, `${mix}.dump`);
  const file = join(folder, "written");
  execFileSync(process.execPath, [join(ROOT, "test/bench/dump-mix.ts"), mix, dump], { stdio: "ignore" });
  const perGb = ({ cpuSeconds, bytes }: Written) => Math.round((cpuSeconds / bytes) * 1e11) / 100;
  const quote = (name: keyof typeof QUOTED): QuotedPeer => ({
    ...{ value: QUOTED[name], quoted: true, from: QUOTED_FROM },
  });
  const run = (program: string | undefined): Written | undefined => {
    if (program === undefined) return undefined;
    const written = JSON.parse(execFileSync(program, [dump, file, String(GIGABYTES)]).toString());
    rmSync(file, { force: true });
    return written;
  };
  const core = new Child([join(ROOT, "test/bench/mcap-core-writer.ts"), mix, file, String(GIGABYTES)]);
  await core.exited;
  rmSync(file, { force: true });
  // Neither in Debian nor on npm: a program of the same arguments, if somebody has built one.
  const mcap = run(process.env.LODE_BENCH_MCAP_WRITER);
  const rosbag = run(buildRosbagWriter(folder));
  return {
    mcap_cpp_cpu_s_per_gb: mcap === undefined ? quote("mcap_cpp") : perGb(mcap),
    rosbag_cpp_cpu_s_per_gb: rosbag === undefined ? quote("rosbag_cpp") : perGb(rosbag),
    mcap_core_cpu_s_per_gb: perGb(core.lastJson<Written>()),
  };
}

/** undefined: librosbag-dev (with librcpputils-dev, librcutils-dev and libament-index-cpp-dev) or a compiler is missing. */
function buildRosbagWriter(folder: string): string | undefined {
  if (!existsSync("/usr/include/rosbag/bag.h")) return undefined;
  const program = join(folder, "rosbag-writer");
  const includes = ROSBAG_INCLUDES.map((name) => `-I/usr/include/${name}`);
  const libraries = [...ROSBAG_LIBRARIES, "console_bridge"].map((name) => `-l${name}`);
  const source = join(ROOT, "test/bench/rosbag-writer.cc");
  const built = spawnSync("g++", ["-O2", ...includes, source, ...libraries, "-o", program]);
  return built.status === 0 ? program : undefined;
}
