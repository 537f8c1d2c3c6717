/** Asks the running daemon over its control socket. */
import { type IncomingMessage, request } from "node:http";
import { Fault } from "../std/fault.ts";
import type { Wire } from "../std/wire.ts";

const ANSWER_BYTES_MAX = 64e6;
const DEADLINE_MS = 15_000;

/** The daemon's answer; `T` is one of `answers.ts`: both sides are one version of one program. Throws `Fault("not_running")`, or the daemon's own fault. */
export async function askDaemon<T>(
  socketPath: string,
  method: "GET" | "POST",
  path: string,
  body?: unknown,
): Promise<Wire<T>> {
  const response = await open(socketPath, method, path, body);
  return JSON.parse((await readAll(response, socketPath)).toString()) as Wire<T>;
}

/** The answer's bytes as they come, at the reader's pace. Throws as `askDaemon` does. */
export async function* streamFromDaemon(socketPath: string, path: string, body: unknown): AsyncGenerator<Uint8Array> {
  const response = await open(socketPath, "POST", path, body);
  try {
    for await (const part of response) yield part;
  } catch (error) {
    throw explain(error as NodeJS.ErrnoException, socketPath);
  }
}

async function readAll(response: IncomingMessage, socketPath: string): Promise<Buffer> {
  const parts: Buffer[] = [];
  let size = 0;
  try {
    for await (const part of response) {
      size += part.length;
      if (size > ANSWER_BYTES_MAX) throw new Error("the answer is too large");
      parts.push(part);
    }
  } catch (error) {
    throw explain(error as NodeJS.ErrnoException, socketPath);
  }
  return Buffer.concat(parts);
}

/** The head of an answer that is none of an error. */
async function open(socketPath: string, method: string, path: string, body: unknown): Promise<IncomingMessage> {
  const payload = body === undefined ? undefined : JSON.stringify(body);
  const headers = payload === undefined ? {} : { "content-type": "application/json" };
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const outgoing = request({ socketPath, method, path, headers, timeout: DEADLINE_MS }, resolve);
    outgoing.on("timeout", () => outgoing.destroy(new Error(`no answer within ${DEADLINE_MS / 1000} s`)));
    outgoing.on("error", (error: NodeJS.ErrnoException) => reject(explain(error, socketPath)));
    outgoing.end(payload);
  });
  const status = response.statusCode ?? 500;
  if (status < 400) return response;
  const answer: unknown = JSON.parse((await readAll(response, socketPath)).toString());
  const error = (answer as { error?: { code?: string; message?: string; hint?: string } }).error ?? {};
  throw new Fault(error.code ?? "refused", error.message ?? `The daemon answered ${status}.`, error.hint ?? "");
}

function explain(error: NodeJS.ErrnoException, socketPath: string): Fault {
  if (error.code === "EACCES")
    return new Fault("no_permission", `You may not open ${socketPath}.`, "Join the group lode, or use sudo.", error);
  if (error.code === "ENOENT" || error.code === "ECONNREFUSED")
    return new Fault(
      "not_running",
      `No daemon answers on ${socketPath}.`,
      "Start it: systemctl start lode, or lode run.",
      error,
    );
  return new Fault(
    "no_answer",
    `The daemon on ${socketPath} did not answer: ${error.message}.`,
    "See journalctl -u lode.",
    error,
  );
}
