/**
 * The daemon's ear: HTTP with JSON over a unix socket, for the command line and everything local.
 *
 * Only who may open the socket (mode 0660, the service's group) may ask. Every answer is one JSON object with
 * the wire's names; an error is `{"error": {code, message, hint}}` with status 400 (the asker's) or 500 (ours).
 */
import { chmodSync, existsSync, mkdirSync, rmSync } from "node:fs";
import { createConnection } from "node:net";
import { dirname } from "node:path";
import { Readable } from "node:stream";
import fastify, { type FastifyInstance } from "fastify";
import { describeError, Fault } from "../std/fault.ts";
import { toWire } from "../std/wire.ts";
import type { Log } from "../telemetry/log.ts";
import type { Commands } from "./commands.ts";

const BODY_BYTES_MAX = 64 * 1024;
const SOCKET_MODE = 0o660;

export class ControlServer {
  readonly #server: FastifyInstance;
  readonly #path: string;

  private constructor(server: FastifyInstance, path: string) {
    this.#server = server;
    this.#path = path;
  }

  /** Throws `Fault("already_running")` if another daemon answers on the socket, `Fault("no_socket")`. */
  static async open(path: string, commands: Commands, log: Log): Promise<ControlServer> {
    await clearStaleSocket(path);
    // Somebody who asked and does not read the answer must not hold up the daemon's end.
    const server = fastify({ bodyLimit: BODY_BYTES_MAX, logger: false, forceCloseConnections: true });
    server.setErrorHandler((error, _request, reply) => {
      const isFault = error instanceof Fault;
      if (!isFault) log.error("A control request failed.", { cause: error });
      const message = error instanceof Error ? error.message : String(error);
      const body = isFault
        ? { code: error.code, message, hint: error.hint }
        : { code: "internal", message, hint: "See the journal." };
      void reply.code(isFault ? 400 : 500).send({ error: body });
    });
    addRoutes(server, commands);
    try {
      await server.listen({ path });
      chmodSync(path, SOCKET_MODE);
    } catch (error) {
      throw noSocket(path, error);
    }
    return new ControlServer(server, path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.close();
    rmSync(this.#path, { force: true });
  }
}

function addRoutes(server: FastifyInstance, commands: Commands): void {
  server.get("/v1/status", async () => toWire(await commands.status()));
  server.get("/v1/topics", async () => toWire(await commands.topics()));
  server.get("/v1/hours", async () => toWire(await commands.hours()));
  server.get("/v1/episodes", async () => toWire(await commands.episodes()));
  server.get<{ Params: { id: string } }>("/v1/episodes/:id", async (request) =>
    toWire(await commands.episode(request.params.id)),
  );
  server.post<{ Params: { id: string } }>("/v1/episodes/:id/label", async (request) =>
    toWire(await commands.label(request.params.id, request.body ?? {})),
  );
  server.get("/v1/batches", async () => toWire(await commands.batches()));
  server.post("/v1/capture", async (request) => toWire(await commands.capture(request.body ?? {})));
  server.post("/v1/memory", (request, reply) =>
    reply.type("application/octet-stream").send(Readable.from(commands.memory(request.body ?? {}))),
  );
  server.post("/v1/upload/pause", async (request) => toWire(await commands.pauseUpload(request.body ?? {})));
  server.post("/v1/upload/resume", async () => toWire(await commands.resumeUpload()));
}

/** A socket that nobody answers on is left from a crash; one that answers belongs to a running daemon. */
async function clearStaleSocket(path: string): Promise<void> {
  try {
    mkdirSync(dirname(path), { recursive: true });
  } catch (error) {
    throw noSocket(path, error);
  }
  if (!existsSync(path)) return;
  const isAlive = await new Promise<boolean>((resolve) => {
    const probe = createConnection({ path });
    probe.once("connect", () => resolve(true)).once("error", () => resolve(false));
    probe.once("connect", () => probe.destroy());
  });
  if (isAlive)
    throw new Fault(
      "already_running",
      `Another Lode daemon answers on ${path}.`,
      "Stop it first (systemctl stop lode), or set telemetry.socket.",
    );
  rmSync(path, { force: true });
}

function noSocket(path: string, cause: unknown): Fault {
  return new Fault(
    "no_socket",
    `The control socket ${path} cannot be opened: ${describeError(cause)}.`,
    "Set telemetry.socket to a path of at most 107 bytes in a folder that Lode may write.",
    cause,
  );
}
