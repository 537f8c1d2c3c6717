/** What people and programs with a reader's token may ask: episodes by cursor, one episode, a blob; and health for all. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { parseCount } from "../protocol/wire.ts";
import { toWire } from "../std/wire.ts";
import { identify } from "./access.ts";
import { refuse, refuseForeign, refuseUnknown } from "./answer.ts";
import type { BlobStore } from "./blob-store.ts";
import type { Catalog, CatalogEpisode, EpisodeQuery } from "./catalog.ts";
import { episodeFiles } from "./received-folder.ts";

export type ReadRouteDeps = {
  readonly catalog: Catalog;
  readonly blobs: BlobStore;
  /** Called after each commit. */
  readonly watchers: Set<() => void>;
};

type Query = Readonly<Record<string, string | undefined>>;

const LIMIT_MAX = 1000;
const WAIT_S_MAX = 60; // proxies cut a silent request after a minute
const WATCHERS_MAX = 1000;
const SHA256 = /^[0-9a-f]{64}$/;

export function addReadRoutes(app: FastifyInstance, deps: ReadRouteDeps): void {
  app.get("/v1/health", async () => ({ status: "ok" }));
  app.register((scope, _options, done) => {
    scope.addHook("onRequest", async (request, reply) => {
      const identity = await identify(deps.catalog, request.headers.authorization);
      if (identity === undefined) return refuseUnknown(reply);
      if (identity.role !== "reader") return refuseForeign(reply);
    });
    scope.get<{ Querystring: Query }>("/v1/episodes", (request, reply) => answerEpisodes(deps, request, reply));
    scope.get<{ Params: { id: string } }>("/v1/episodes/:id", async (request, reply) => {
      const episode = await deps.catalog.findEpisode(request.params.id);
      return episode === undefined ? refuse(reply, 404, "Not found.") : episodeToWire(episode);
    });
    scope.get<{ Params: { sha: string } }>("/v1/blobs/:sha", (request, reply) =>
      answerBlob(deps, request.params.sha, reply),
    );
    done();
  });
}

/** `?after=CURSOR&robot=&rule=&outcome=&from=&limit=&wait=SECONDS`: with `wait` an empty answer waits for news. */
async function answerEpisodes(
  deps: ReadRouteDeps,
  request: FastifyRequest<{ Querystring: Query }>,
  reply: FastifyReply,
): Promise<unknown> {
  const { after, limit, wait, robot, rule, outcome, from } = request.query;
  const counts = [after ?? "0", limit ?? "100", wait ?? "0"].map(parseCount);
  const isTime = from === undefined || (/^\d{4}-\d\d-\d\dT.+/.test(from) && !Number.isNaN(Date.parse(from)));
  if (counts.includes(undefined) || !isTime) return refuse(reply, 400, "A query value is malformed.");
  const [cursor = 0, count = 100, waitS = 0] = counts;
  const query = { after: cursor, robot, rule, outcome, from, limit: Math.min(count, LIMIT_MAX) };
  const episodes = await pollEpisodes(deps, query, Math.min(waitS, WAIT_S_MAX) * 1000, request);
  return { episodes: episodes.map(episodeToWire), next: episodes.at(-1)?.cursor ?? cursor };
}

async function pollEpisodes(
  deps: ReadRouteDeps,
  query: EpisodeQuery,
  waitMs: number,
  request: FastifyRequest,
): Promise<readonly CatalogEpisode[]> {
  const deadline = performance.now() + waitMs;
  for (;;) {
    const episodes = await deps.catalog.episodes(query);
    const leftMs = deadline - performance.now();
    if (episodes.length > 0 || leftMs <= 0 || request.raw.socket.destroyed) return episodes;
    if (deps.watchers.size >= WATCHERS_MAX || !(await nextCommit(deps.watchers, leftMs, request))) return [];
  }
}

/** False when the time is over or the asker's connection is gone, as it is when the receiver closes. */
function nextCommit(watchers: Set<() => void>, waitMs: number, request: FastifyRequest): Promise<boolean> {
  return new Promise((resolve) => {
    const end = (isNews: boolean) => {
      clearTimeout(timer);
      watchers.delete(wake);
      request.raw.socket.off("close", leave);
      resolve(isNews);
    };
    const wake = () => end(true);
    const leave = () => end(false);
    const timer = setTimeout(leave, waitMs);
    watchers.add(wake);
    request.raw.socket.once("close", leave);
  });
}

async function answerBlob(deps: ReadRouteDeps, sha256: string, reply: FastifyReply): Promise<unknown> {
  const isKnown = SHA256.test(sha256) && (await deps.catalog.hasContent(sha256));
  const sizeBytes = isKnown ? await deps.blobs.size(sha256) : undefined;
  if (sizeBytes === undefined) return refuse(reply, 404, "Not found.");
  reply.header("content-length", String(sizeBytes)).type("application/octet-stream");
  return reply.send(deps.blobs.read(sha256));
}

/** `is_complete`: all its batches are here. */
function episodeToWire(episode: CatalogEpisode): unknown {
  const { robot, id, cursor, summary, batches } = episode;
  return {
    ...{ robot, id, cursor, is_complete: summary !== undefined && batches.length >= summary.batchCount },
    ...(summary === undefined ? {} : renamed(summary)),
    files: episodeFiles(episode),
    batches: batches.map((batch) => ({
      ...{ id: batch.batch, kind: batch.kind, index: batch.index, media_type: batch.mediaType },
      ...{ sha256: batch.sha256, bytes: batch.sizeBytes, received_time: batch.receipt.time },
    })),
  };
}

function renamed(summary: object): object {
  const wire = toWire(summary);
  return typeof wire === "object" && wire !== null ? wire : {};
}
