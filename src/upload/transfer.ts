/**
 * One attempt at sending a batch: check the file, ask for the offset, send from there, bring back the receipt.
 *
 * Promises: a file that is not what its row says is never sent; bytes go out only from the offset the receiver
 * named; it ends within a second of an abort, and within `idleMs` of the last movement on the connection. It decides
 * nothing about retrying: that is the uploader's.
 */
import { createHash } from "node:crypto";
import { createReadStream, readFileSync } from "node:fs";
import { stat } from "node:fs/promises";
import {
  type ClientRequest,
  Agent as HttpAgent,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request as requestHttp,
} from "node:http";
import { Agent as HttpsAgent, request as requestHttps } from "node:https";
import { pipeline } from "node:stream/promises";
import type { Batch } from "../model/batch.ts";
import { type Receipt, receiptFromHeader } from "../protocol/receipt.ts";
import {
  batchPath,
  formatBoolean,
  formatDescription,
  HEADER,
  type Headers,
  INTEROP_VERSION,
  PARTIAL_UPLOAD,
  parseCount,
  parseRetryAfterMs,
} from "../protocol/wire.ts";
import { describeError } from "../std/fault.ts";

export type ReceiverTarget = {
  /** `http(s)://host[:port][/prefix]` */
  readonly url: string;
  /** Read at each attempt, so that a token can be changed under a running daemon. */
  readonly tokenFile: string;
};

export type AttemptResult = {
  /** Body bytes given to the socket; what the system still held when the connection died counts too. */
  readonly sentBytes: number;
  readonly reason: string;
} & (
  | {
      readonly kind: "accepted" /** Not verified yet; undefined if there was none to read. */;
      readonly receipt: Receipt | undefined;
    }
  /** Cut, timed out, aborted, or the byte allowance ran out. `offset`: the receiver's at the start, if it answered. */
  | { readonly kind: "interrupted"; readonly offset: number | undefined }
  /** The receiver or the configuration cannot take it now. */
  | { readonly kind: "deferred"; readonly retryAfterMs: number | undefined; readonly isConfiguration: boolean }
  /** Trying the same bytes again is useless. */
  | { readonly kind: "rejected" }
);

export type TransferOptions = {
  readonly robot: string;
  readonly target: ReceiverTarget;
  readonly agent: HttpAgent;
  /** Files whose hash was right and that have not been touched since: a batch in many pieces is not read each time. */
  readonly proven: Set<string>;
  /** Body bytes that may be sent; at least 1. */
  readonly bytesMax: number;
  /** Silence on the connection that ends the attempt. */
  readonly idleMs: number;
  readonly signal: AbortSignal;
  /** After each piece that went to the socket. */
  onSent(sentBytes: number): void;
};

type Answer = { readonly status: number; readonly headers: IncomingHttpHeaders; readonly title: string };

const ANSWER_BYTES_MAX = 64 * 1024;
const READ_BYTES = 256 * 1024;
const PROVEN_MAX = 100;
/** What is wrong with this batch and will be wrong again. */
const PERMANENT = new Set([400, 409, 413, 415, 422]);
/** The robot is not known, or the URL is not a receiver's: a person must look, the batch is as good as before. */
const CONFIGURATION = new Set([301, 302, 307, 308, 401, 403, 404, 407]);

/** Connections are kept for the next request, but not for long: after a change of network they are dead. */
const KEPT_MS = 10_000;

/** Its owner destroys it. */
export function openAgent(url: string): HttpAgent {
  const options = { keepAlive: true, maxSockets: 2, timeout: KEPT_MS };
  return url.startsWith("https:") ? new HttpsAgent(options) : new HttpAgent(options);
}

export async function attemptTransfer(batch: Batch, options: TransferOptions): Promise<AttemptResult> {
  let sentBytes = 0;
  const counted = {
    ...options,
    onSent: (bytes: number) => {
      sentBytes = bytes;
      options.onSent(bytes);
    },
  };
  let offset: number | undefined;
  try {
    const token = readToken(options.target);
    if (token.problem !== undefined)
      return { kind: "deferred", retryAfterMs: undefined, isConfiguration: true, reason: token.problem, sentBytes };
    const problem = await findFileProblem(batch, options);
    if (problem !== undefined) return { kind: "rejected", reason: problem, sentBytes };
    const head = await askOffset(batch, counted, token.headers);
    offset = parseCount(head.headers[HEADER.offset]);
    if (head.status >= 300 || offset === undefined) return { ...judge(head, 0, options), sentBytes };
    if (head.headers[HEADER.complete] === "?1") return { ...acceptance(head), sentBytes };
    const sent = await send(batch, Math.min(offset, batch.sizeBytes), counted, token.headers);
    return { ...sent, sentBytes };
  } catch (error) {
    const reason = options.signal.aborted ? describeError(options.signal.reason) : describeError(error);
    return { kind: "interrupted", offset, reason, sentBytes };
  }
}

/** AttemptResult without the count, which only the outermost function knows. */
type Judgement = AttemptResult extends infer Result
  ? Result extends unknown
    ? Omit<Result, "sentBytes">
    : never
  : never;

type Token = { readonly headers: Headers; readonly problem: string | undefined };

function readToken({ tokenFile }: ReceiverTarget): Token {
  try {
    return { headers: { authorization: `Bearer ${readFileSync(tokenFile, "utf8").trim()}` }, problem: undefined };
  } catch (error) {
    return { headers: {}, problem: `The token file cannot be read: ${describeError(error)}` };
  }
}

/** A kept connection may have been closed by the other side just now; asking twice does no harm. */
async function askOffset(batch: Batch, options: TransferOptions, token: Headers): Promise<Answer> {
  try {
    return await exchange("HEAD", batch, options, token);
  } catch (error) {
    if (options.signal.aborted || !(error instanceof StaleConnection)) throw error;
    return exchange("HEAD", batch, options, token);
  }
}

class StaleConnection extends Error {}

async function send(batch: Batch, offset: number, options: TransferOptions, token: Headers): Promise<Judgement> {
  const end = Math.min(batch.sizeBytes, offset + options.bytesMax);
  const isComplete = end === batch.sizeBytes;
  const content: Content = { path: batch.path, start: offset, end };
  const headers: Headers = {
    ...token,
    ...formatDescription({ ...batch, boot: batch.bootId, episode: batch.episodeId }),
    [HEADER.complete]: formatBoolean(isComplete),
    "content-length": String(end - offset),
    ...(offset === 0
      ? { "content-type": batch.mediaType }
      : { "content-type": PARTIAL_UPLOAD, [HEADER.offset]: String(offset) }),
  };
  const answer = await exchange(offset === 0 ? "PUT" : "PATCH", batch, options, headers, content);
  if (answer.status >= 300) return judge(answer, offset, options);
  if (answer.headers[HEADER.complete] === "?1") return acceptance(answer);
  return { kind: "interrupted", offset, reason: "The allowed bytes are used up; the rest follows later." };
}

function acceptance(answer: Answer): Judgement {
  const receipt = receiptFromHeader(String(answer.headers[HEADER.receipt] ?? ""));
  return { kind: "accepted", receipt, reason: "" };
}

/** What a refusal means for the batch. `offset`: where this attempt began to send. */
function judge(answer: Answer, offset: number, { target }: TransferOptions): Judgement {
  const { status, headers, title } = answer;
  const reason = `${target.url} answered ${status}${title === "" ? "" : `: ${title}`}`;
  const retryAfterMs = parseRetryAfterMs(headers["retry-after"], Date.now());
  if (CONFIGURATION.has(status)) return { kind: "deferred", retryAfterMs, isConfiguration: true, reason };
  // 409 with an offset: somebody else moved it. 422 after resuming: the receiver's older bytes may be bad, not ours.
  const isOffset = status === 409 && headers[HEADER.offset] !== undefined;
  if (isOffset || (status === 422 && offset > 0)) return { kind: "interrupted", offset, reason };
  // Only a receiver's own word sets a batch aside: a proxy or a hotel's login page answers 400 to anything.
  const isReceiver = headers[HEADER.limit] !== undefined;
  if (PERMANENT.has(status) && isReceiver) return { kind: "rejected", reason };
  return { kind: "deferred", retryAfterMs, isConfiguration: status < 500 && !isReceiver, reason };
}

/** A sentence if the file is not the one the row describes. */
async function findFileProblem(batch: Batch, { signal, proven }: TransferOptions): Promise<string | undefined> {
  const hash = createHash("sha256");
  let sizeBytes = 0;
  let stamp = "";
  try {
    const { ino, size, mtimeNs } = await stat(batch.path, { bigint: true });
    stamp = `${batch.id} ${ino} ${size} ${mtimeNs}`;
    if (proven.has(stamp)) return undefined;
    for await (const bytes of createReadStream(batch.path, { signal, highWaterMark: READ_BYTES })) {
      hash.update(bytes);
      sizeBytes += bytes.length;
    }
  } catch (error) {
    signal.throwIfAborted();
    // A disk that does not answer now may answer later; only a file that is not there is no batch any more.
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
    return `The batch file cannot be read: ${describeError(error)}`;
  }
  if (sizeBytes !== batch.sizeBytes) return `The batch file has ${sizeBytes} bytes instead of ${batch.sizeBytes}.`;
  if (hash.digest("hex") !== batch.sha256) return "The batch file does not have its hash any more.";
  if (proven.size >= PROVEN_MAX) proven.clear();
  proven.add(stamp);
  return undefined;
}

type Content = { readonly path: string; readonly start: number; readonly end: number };

/** One request and its whole answer. Throws what broke the connection, or the signal's reason. */
async function exchange(
  method: "HEAD" | "PUT" | "PATCH",
  batch: Batch,
  options: TransferOptions,
  headers: Headers,
  content?: Content,
): Promise<Answer> {
  const { robot, target, agent, signal, idleMs } = options;
  const url = new URL(target.url.replace(/\/+$/, "") + batchPath(robot, batch.id));
  const all = { [HEADER.interopVersion]: INTEROP_VERSION, ...headers };
  const open = url.protocol === "https:" ? requestHttps : requestHttp;
  const request = open(url, { method, headers: all, signal, agent, timeout: idleMs });
  request.once("timeout", () => request.destroy(new Error(`Nothing moved on the connection for ${idleMs} ms.`)));
  const answered = responseTo(request);
  const sent = content === undefined ? Promise.resolve(request.end()) : sendContent(request, content, options);
  sent.catch(() => {}); // an early refusal ends the sending; a cut ends both, and the answer's side has the words
  try {
    const response = await answered;
    return { status: response.statusCode ?? 0, headers: response.headers, title: await readTitle(response) };
  } catch (error) {
    request.destroy();
    throw error;
  } finally {
    if (!request.writableFinished) request.destroy();
  }
}

function responseTo(request: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.once("response", resolve);
    request.on("error", (error) => reject(request.reusedSocket ? new StaleConnection(error.message) : error));
  });
}

async function sendContent(request: NodeJS.WritableStream, content: Content, options: TransferOptions): Promise<void> {
  if (content.end === content.start) {
    request.end();
    return;
  }
  const file = createReadStream(content.path, {
    start: content.start,
    end: content.end - 1,
    highWaterMark: READ_BYTES,
  });
  let sentBytes = 0;
  await pipeline(
    file,
    async function* count(pieces: AsyncIterable<Buffer>) {
      for await (const piece of pieces) {
        sentBytes += piece.length;
        options.onSent(sentBytes);
        yield piece;
      }
    },
    request,
  );
}

/** The `title` of an RFC 9457 answer, or nothing. */
async function readTitle(response: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  let sizeBytes = 0;
  for await (const piece of response) {
    sizeBytes += piece.length;
    if (sizeBytes > ANSWER_BYTES_MAX) break;
    pieces.push(piece);
  }
  try {
    const answer: unknown = JSON.parse(Buffer.concat(pieces).toString("utf8"));
    const title = typeof answer === "object" && answer !== null && "title" in answer ? answer.title : "";
    return typeof title === "string" ? title.slice(0, 200) : "";
  } catch {
    return ""; // a proxy's page, say; the status tells enough
  }
}
