/** Asks the running daemon over its control socket. */
import { request } from "node:http";
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
  const { status, text } = await exchange(socketPath, method, path, body);
  const answer: unknown = JSON.parse(text);
  if (status < 400) return answer as Wire<T>;
  const error = (answer as { error?: { code?: string; message?: string; hint?: string } }).error ?? {};
  throw new Fault(error.code ?? "refused", error.message ?? `The daemon answered ${status}.`, error.hint ?? "");
}

function exchange(
  socketPath: string,
  method: string,
  path: string,
  body: unknown,
): Promise<{ status: number; text: string }> {
  const payload = body === undefined ? undefined : JSON.stringify(body);
  const headers = payload === undefined ? {} : { "content-type": "application/json" };
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, method, path, headers, timeout: DEADLINE_MS }, (response) => {
      const parts: Buffer[] = [];
      let size = 0;
      response.on("data", (part: Buffer) => {
        size += part.length;
        if (size > ANSWER_BYTES_MAX) outgoing.destroy(new Error("the answer is too large"));
        else parts.push(part);
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 500, text: Buffer.concat(parts).toString() }));
      response.on("error", reject);
    });
    outgoing.on("timeout", () => outgoing.destroy(new Error(`no answer within ${DEADLINE_MS / 1000} s`)));
    outgoing.on("error", (error: NodeJS.ErrnoException) => reject(explain(error, socketPath)));
    outgoing.end(payload);
  });
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
