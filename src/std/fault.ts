/**
 * An operating error: something outside the program went wrong and a person can mend it.
 *
 * `code` is stable (scripts match on it), `message` carries the values, `hint` says what to do next.
 * Programmer errors use `assert`; expected ends are return values.
 */
export class Fault extends Error {
  readonly code: string;
  readonly hint: string;

  constructor(code: string, message: string, hint: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "Fault";
    this.code = code;
    this.hint = hint;
  }
}

/** One line for a log or a terminal, whatever was thrown. */
export function describeError(error: unknown): string {
  if (error instanceof Fault) return `${error.message} ${error.hint}`.trim();
  return error instanceof Error ? error.message : String(error);
}
