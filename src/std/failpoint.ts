/**
 * Named points between two writes, at which a test ends the process as `kill -9` and a power cut do.
 *
 * Armed only by `LODE_FAILPOINT=NAME` or `NAME:COUNT` (the COUNTth time it is reached, in this process) when the
 * process starts; else a call is one comparison. A test finds every name in the sources and ends a process there.
 */
const [armed, count = "1"] = process.env.LODE_FAILPOINT?.split(":") ?? [];
let remaining = Number(count);

export function failpoint(name: string): void {
  if (armed === name) reach();
}

function reach(): void {
  remaining -= 1;
  if (remaining > 0) return;
  process.kill(process.pid, "SIGKILL");
  for (;;); // the signal comes before anything else is written
}
