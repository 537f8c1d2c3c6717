/** `PUT | PATCH | HEAD /v1/robots/{robot}/batches/{batch}` and `GET …/receipt`: HTTP to `Uploads` and back. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { type Receipt, receiptToHeader, receiptToWire } from "../protocol/receipt.ts";
import {
  formatBoolean,
  HEADER,
  isWireId,
  PARTIAL_UPLOAD,
  parseBoolean,
  parseCount,
  parseDescription,
} from "../protocol/wire.ts";
import { unreachable } from "../std/assert.ts";
import type { Log } from "../telemetry/log.ts";
import { identify } from "./access.ts";
import { addManners, refuse, refuseForeign, refuseUnknown } from "./answer.ts";
import type { Catalog } from "./catalog.ts";
import type { AppendRequest, AppendResult, Uploads } from "./uploads.ts";

export type UploadRouteDeps = {
  readonly catalog: Catalog;
  readonly uploads: Uploads;
  readonly batchBytesMax: number;
  readonly log: Log;
};

type Address = { readonly robot: string; readonly batch: string };
type Route = { Params: Address };

const BUSY_RETRY_S = 2; // the older upload of the batch is in its fsync
const FULL_RETRY_S = 300; // a person has to make room
const OFFSET_PROBLEM = "https://iana.org/assignments/http-problem-types#mismatching-upload-offset";
const LENGTH_PROBLEM = "https://iana.org/assignments/http-problem-types#inconsistent-upload-length";

export function addUploadRoutes(app: FastifyInstance, deps: UploadRouteDeps): void {
  addManners(app, deps.log);
  app.register((scope, _options, done) => {
    scope.addHook("onRequest", async (request: FastifyRequest<Route>, reply) => {
      const identity = await identify(deps.catalog, request.headers.authorization);
      if (identity === undefined) return refuseUnknown(reply);
      if (identity.role !== "robot" || identity.name !== request.params.robot) return refuseForeign(reply);
      reply.header(HEADER.limit, `max-size=${deps.batchBytesMax}`).header("cache-control", "no-store");
      if (!isWireId(request.params.batch)) return refuse(reply, 400, "The batch id is malformed.");
    });
    const url = "/v1/robots/:robot/batches/:batch";
    scope.head<Route>(url, (request, reply) => answerProgress(deps, request.params, reply));
    scope.put<Route>(url, (request, reply) => append(deps, request, reply));
    scope.patch<Route>(url, (request, reply) => append(deps, request, reply));
    scope.get<Route>(`${url}/receipt`, (request, reply) => answerReceipt(deps, request.params, reply));
    done();
  });
}

async function answerProgress(deps: UploadRouteDeps, { robot, batch }: Address, reply: FastifyReply): Promise<unknown> {
  const progress = await deps.uploads.progress(robot, batch);
  if (progress === "busy") return refuseBusy(reply);
  const { offset, receipt } = progress;
  reply.header(HEADER.offset, String(offset)).header(HEADER.complete, formatBoolean(receipt !== undefined));
  if (receipt !== undefined)
    reply.header(HEADER.receipt, receiptToHeader(receipt)).header(HEADER.length, String(offset));
  return reply.code(204).send();
}

async function answerReceipt(deps: UploadRouteDeps, { robot, batch }: Address, reply: FastifyReply): Promise<unknown> {
  const known = await deps.catalog.findBatch(robot, batch);
  return known === undefined ? refuse(reply, 404, "Not found.") : reply.send(receiptToWire(known.receipt));
}

async function append(deps: UploadRouteDeps, request: FastifyRequest<Route>, reply: FastifyReply): Promise<unknown> {
  const parsed = parseAppend(request, reply);
  if (parsed === undefined) return reply;
  return answer(await deps.uploads.append(parsed), parsed, reply);
}

/** undefined: refused already. */
function parseAppend(request: FastifyRequest<Route>, reply: FastifyReply): AppendRequest | undefined {
  const { headers, raw, params } = request;
  const bad = (status: number, title: string, more?: object) => void refuse(reply, status, title, more);
  const isPatch = request.method === "PATCH";
  if ((headers["content-encoding"] ?? "identity") !== "identity") return bad(415, "Content codings are not taken.");
  if (isPatch && headers["content-type"] !== PARTIAL_UPLOAD) return bad(415, `PATCH takes ${PARTIAL_UPLOAD}.`);
  const description = parseDescription(headers);
  if ("problem" in description) return bad(400, description.problem);
  const isComplete = parseBoolean(headers[HEADER.complete]);
  if (isComplete === undefined) return bad(400, "Upload-Complete must be ?1 or ?0.");
  const offset = isPatch ? parseCount(headers[HEADER.offset]) : undefined;
  if (isPatch && offset === undefined) return bad(400, "PATCH needs Upload-Offset.");
  const end = (offset ?? 0) + (parseCount(headers["content-length"]) ?? 0);
  const isPlausible = isComplete ? end === description.sizeBytes : end <= description.sizeBytes;
  if (headers["content-length"] !== undefined && !isPlausible)
    return bad(400, "Content-Length, Upload-Offset and Upload-Length do not fit together.", { type: LENGTH_PROBLEM });
  return { ...params, description, offset, isComplete, body: raw };
}

function answer(result: AppendResult, request: AppendRequest, reply: FastifyReply): unknown {
  switch (result.kind) {
    case "receipted":
      return answerReceipted(result.receipt, reply);
    case "appended":
      reply.header(HEADER.complete, "?0").header(HEADER.offset, String(result.offset));
      return reply.code(204).send();
    case "wrong_offset":
      reply.header(HEADER.offset, String(result.offset)).header(HEADER.complete, "?0");
      return refuse(reply, 409, "The offset is not where this upload is.", {
        ...{ type: OFFSET_PROBLEM, "expected-offset": result.offset, "provided-offset": request.offset },
      });
    case "wrong_length":
      return refuse(reply, 400, "The content's length is not what Upload-Length said.", { type: LENGTH_PROBLEM });
    case "wrong_digest":
      return refuse(reply, 422, "The content does not have the sha-256 that Repr-Digest said; nothing was stored.");
    case "other_content":
      return refuse(reply, 409, "A batch of this id with another content is here already.");
    case "too_large":
      return refuse(reply, 413, "The batch is larger than Upload-Limit allows.");
    case "busy":
      return refuseBusy(reply);
    case "disk_full":
      return refuse(reply.header("retry-after", String(FULL_RETRY_S)), 507, "The receiver's disk is full.");
    case "interrupted":
      reply.hijack(); // nobody is there to read an answer
      return reply.raw.destroy();
    default:
      return unreachable(result);
  }
}

function answerReceipted(receipt: Receipt, reply: FastifyReply): FastifyReply {
  reply.header(HEADER.complete, "?1").header(HEADER.receipt, receiptToHeader(receipt));
  return reply.code(200).send(receiptToWire(receipt));
}

function refuseBusy(reply: FastifyReply): FastifyReply {
  return refuse(reply.header("retry-after", String(BUSY_RETRY_S)), 423, "Another request is writing this batch.");
}
