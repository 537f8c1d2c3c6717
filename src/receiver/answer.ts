/** Answers in the form of RFC 9457, refusals that tell nothing, and what happens to a body nobody will read. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { describeError } from "../std/fault.ts";
import type { Log } from "../telemetry/log.ts";

const LINGER_MS = 5_000; // time for a sender in mid-body to read a refusal before its connection is cut

export function refuse(reply: FastifyReply, status: number, title: string, more: object = {}): FastifyReply {
  return reply
    .code(status)
    .type("application/problem+json")
    .send({ title, status, ...more });
}

/** No or no known token. */
export function refuseUnknown(reply: FastifyReply): FastifyReply {
  return refuse(reply.header("www-authenticate", "Bearer"), 401, "A valid token is needed.");
}

/** Known, but not for this; the same whether the thing exists or not. */
export function refuseForeign(reply: FastifyReply): FastifyReply {
  return refuse(reply, 403, "Not allowed.");
}

/** The server-wide manners: constant 404, errors without their inside, no endless body after a refusal. */
export function addManners(app: FastifyInstance, log: Log): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", (_request, _payload, done) => done(null));
  app.setNotFoundHandler((_request, reply) => refuse(reply, 404, "Not found."));
  app.setErrorHandler((error, _request, reply) => {
    const status = statusOf(error);
    if (status >= 500) log.error("A request failed inside the receiver.", { cause: describeError(error) });
    return refuse(reply, status, status >= 500 ? "The receiver failed; try again." : "The request is malformed.");
  });
  app.addHook("onResponse", async (request) => lingerOnBody(request));
}

function statusOf(error: unknown): number {
  const status = typeof error === "object" && error !== null && "statusCode" in error ? Number(error.statusCode) : 500;
  return status >= 400 && status < 500 ? status : 500;
}

function lingerOnBody({ raw }: FastifyRequest): void {
  if (raw.complete || raw.destroyed) return;
  raw.resume();
  const timer = setTimeout(() => raw.socket.destroy(), LINGER_MS);
  timer.unref();
  raw.once("close", () => clearTimeout(timer));
}
