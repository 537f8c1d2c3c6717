/** `lode run`: the daemon, in the foreground; what the service manager starts. SIGHUP: the rules are read anew. */
import { checkConfig } from "../daemon/config-check.ts";
import { Daemon } from "../daemon/daemon.ts";
import { openLog } from "../telemetry/log.ts";
import { type CommonOptions, interruptSignal, readConfig } from "./command.ts";

export async function runDaemon(options: CommonOptions): Promise<void> {
  const loaded = readConfig(options);
  const { config, files } = loaded;
  checkConfig(loaded);
  const log = openLog(config.telemetry.log_level, "main");
  const signal = interruptSignal();
  let daemon: Daemon | undefined;
  // Before it runs there is nothing to exchange; without a listener the signal would end the process.
  process.on("SIGHUP", () => void daemon?.reloadRules(() => readConfig(options)));
  daemon = await Daemon.open(config, { log });
  log.info("Lode is recording.", { robot: config.robot.id, folder: config.ring.folder, config_files: files });
  await daemon.run(signal);
  log.info("Lode has stopped.");
}
