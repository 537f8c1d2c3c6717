/**
 * JSON lines for journald, through one small face so that a stage needs no logger's types.
 *
 * *debug* for developers · *info* something an operator asked for happened · *warn* odd, but nothing lost ·
 * *error* data lost or a person is needed. Sentences for people, fields for machines; never payloads or secrets.
 */
import { pino } from "pino";

type LogFields = Readonly<Record<string, unknown>>;

export interface Log {
  debug(sentence: string, fields?: LogFields): void;
  info(sentence: string, fields?: LogFields): void;
  warn(sentence: string, fields?: LogFields): void;
  error(sentence: string, fields?: LogFields): void;
}

export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";

/** Writes to stderr: stdout is the answer of a command, stderr is the talk. */
export function openLog(level: LogLevel, name: string): Log {
  const logger = pino(
    {
      level,
      base: { thread: name },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { cause: (cause: unknown) => (cause instanceof Error ? cause.message : cause) },
    },
    // Synchronous: a line must be out before the process dies of what it tells.
    pino.destination({ dest: 2, sync: true }),
  );
  return {
    debug: (sentence, fields) => logger.debug(fields ?? {}, sentence),
    info: (sentence, fields) => logger.info(fields ?? {}, sentence),
    warn: (sentence, fields) => logger.warn(fields ?? {}, sentence),
    error: (sentence, fields) => logger.error(fields ?? {}, sentence),
  };
}

export const silentLog: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
