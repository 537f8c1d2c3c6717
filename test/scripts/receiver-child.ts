/** A receiver in a process of its own, to be killed: `receiver-child.ts FOLDER`. Prints its port when it listens. */
import { RECEIVER_DEFAULTS, Receiver } from "../../src/receiver/receiver.ts";
import { systemClock } from "../../src/std/clock.ts";
import { silentLog } from "../../src/telemetry/log.ts";

const folder = process.argv[2] ?? "";
const receiver = Receiver.open(
  { ...RECEIVER_DEFAULTS, freeBytesMin: 0, folder, port: 0 },
  { clock: systemClock, log: silentLog },
);
const { port } = await receiver.listen();
process.stdout.write(`${port}\n`);
