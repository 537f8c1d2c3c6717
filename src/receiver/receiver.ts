/**
 * The embedded receiver: one process, a folder and SQLite.
 *
 * Folder: `receiver.db` (catalog), `receipt.key`, `parts/`, `blobs/<sha256>`, `received/` (hard links for people).
 * A `kill -9` at any moment leaves what `open` understands: whole batches with their receipts, and parts that go on
 * where they stopped.
 */
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import fastify, { type FastifyInstance } from "fastify";
import { formatPublicKey } from "../protocol/receipt.ts";
import { isWireId } from "../protocol/wire.ts";
import type { Clock } from "../std/clock.ts";
import { Fault } from "../std/fault.ts";
import type { Log } from "../telemetry/log.ts";
import { hashToken, newToken } from "./access.ts";
import { FolderBlobStore } from "./blob-store.ts";
import { type CatalogEpisode, type EpisodeQuery, type Identity, SqliteCatalog } from "./catalog.ts";
import { checkStore, type FsckResult } from "./fsck.ts";
import { addReadRoutes } from "./read-routes.ts";
import { openReceiptKey, type ReceiptKey } from "./receipt-key.ts";
import { episodeFiles, ReceivedFolder } from "./received-folder.ts";
import { addUploadRoutes } from "./upload-routes.ts";
import { type UploadLimits, Uploads } from "./uploads.ts";

export type ReceiverOptions = UploadLimits & {
  readonly folder: string;
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** A part that nobody has added to for so long is removed at the start. */
  readonly partDaysMax: number;
  /** A connection on which nothing moves for so long is closed. */
  readonly idleMs: number;
};

export const RECEIVER_DEFAULTS = {
  host: "127.0.0.1",
  port: 8480,
  batchBytesMax: 1e9,
  freeBytesMin: 1e9,
  perRobotMax: 8,
  partDaysMax: 14,
  idleMs: 60_000,
} as const;

export type ReceiverDeps = { readonly clock: Clock; readonly log: Log };

const HEADERS_TIMEOUT_MS = 10_000; // slow-loris: a robot's headers are one packet
const HEADERS_BYTES_MAX = 8 * 1024;
const CONNECTIONS_MAX = 4096;
const MS_PER_DAY = 86_400_000;

export class Receiver {
  readonly folder: string;
  readonly #options: ReceiverOptions;
  readonly #deps: ReceiverDeps;
  readonly #key: ReceiptKey;
  readonly #catalog: SqliteCatalog;
  readonly #blobs: FolderBlobStore;
  readonly #received: ReceivedFolder;
  /** Long polls wait here for the next commit. */
  readonly #watchers = new Set<() => void>();
  #server: FastifyInstance | undefined;

  private constructor(options: ReceiverOptions, deps: ReceiverDeps) {
    const { folder } = options;
    this.folder = folder;
    this.#options = options;
    this.#deps = deps;
    this.#key = openReceiptKey(folder);
    this.#catalog = SqliteCatalog.open(join(folder, "receiver.db"));
    this.#blobs = FolderBlobStore.open(folder);
    this.#received = new ReceivedFolder(folder, this.#blobs, this.#catalog, deps.log);
  }

  /** Opens or creates the folder; also for a command beside a running receiver. */
  static open(options: ReceiverOptions, deps: ReceiverDeps): Receiver {
    mkdirSync(options.folder, { recursive: true, mode: 0o750 });
    return new Receiver(options, deps);
  }

  /** Base64, for robots to pin. */
  get publicKey(): string {
    return formatPublicKey(this.#key.publicKey);
  }

  /** Tidies up after a crash, then accepts connections; resolves to the URL for robots. */
  async listen(): Promise<{ readonly url: string; readonly port: number }> {
    const stale = this.#blobs.removeStaleParts(Date.now() - this.#options.partDaysMax * MS_PER_DAY);
    if (stale > 0) this.#deps.log.info("Parts that nobody went on with were removed.", { count: stale });
    await this.#received.linkMissing();
    this.#server = this.#build();
    const url = await this.#server.listen({ host: this.#options.host, port: this.#options.port });
    const address = this.#server.server.address();
    return { url, port: typeof address === "object" && address !== null ? address.port : this.#options.port };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server?.close();
    this.#catalog[Symbol.dispose]();
  }

  /** Enrols a robot and returns its token, which is shown this once. Throws `Fault`. */
  addRobot(id: string): string {
    return this.#addCredential({ role: "robot", name: id });
  }

  /** The robot's token is worth nothing from now on; its batches stay. */
  removeRobot(id: string): boolean {
    return this.#catalog.removeCredential({ role: "robot", name: id });
  }

  robots(): readonly { readonly name: string; readonly addedNs: bigint }[] {
    return this.#catalog.credentials("robot");
  }

  /** A person or program that may list and fetch; returns its token. */
  addReader(name: string): string {
    return this.#addCredential({ role: "reader", name });
  }

  removeReader(name: string): boolean {
    return this.#catalog.removeCredential({ role: "reader", name });
  }

  episodes(query: EpisodeQuery): Promise<readonly CatalogEpisode[]> {
    return this.#catalog.episodes(query);
  }

  findEpisode(id: string): Promise<CatalogEpisode | undefined> {
    return this.#catalog.findEpisode(id);
  }

  /** Absolute paths of the episode's files as people see them; empty until its manifest has come. */
  files(episode: CatalogEpisode): readonly string[] {
    return episodeFiles(episode)
      .map((path) => join(this.folder, path))
      .filter((path) => existsSync(path));
  }

  /** Whether every receipt's blob is there and hashes right; `isRepair` removes blobs that no receipt names. */
  fsck(isRepair: boolean): Promise<FsckResult> {
    return checkStore(this.#catalog, this.#blobs, isRepair);
  }

  #addCredential(identity: Identity): string {
    if (!isWireId(identity.name))
      throw new Fault(
        "bad_name",
        `"${identity.name}" cannot name a ${identity.role}.`,
        "Use letters, digits, . _ and -.",
      );
    const token = newToken(identity.role);
    if (!this.#catalog.addCredential(identity, hashToken(token), this.#deps.clock.wallNs()))
      throw new Fault(
        "name_taken",
        `The ${identity.role} "${identity.name}" is enrolled already.`,
        `Remove it first to give it a new token.`,
      );
    return token;
  }

  #build(): FastifyInstance {
    const app = fastify({
      ...{ bodyLimit: this.#options.batchBytesMax, connectionTimeout: this.#options.idleMs, exposeHeadRoutes: false },
      ...{ forceCloseConnections: true, routerOptions: { maxParamLength: 200 } },
      http: {
        maxHeaderSize: HEADERS_BYTES_MAX,
        headersTimeout: Math.min(HEADERS_TIMEOUT_MS, this.#options.idleMs),
        connectionsCheckingInterval: 500,
      },
    });
    app.server.maxConnections = CONNECTIONS_MAX;
    const { clock, log } = this.#deps;
    const shared = { catalog: this.#catalog, blobs: this.#blobs, log };
    const uploads = new Uploads(this.#options, {
      ...{ ...shared, key: this.#key, clock },
      onCommitted: (episode) => this.#showCommitted(episode),
    });
    addUploadRoutes(app, { ...shared, uploads, batchBytesMax: this.#options.batchBytesMax });
    addReadRoutes(app, { ...shared, watchers: this.#watchers });
    return app;
  }

  async #showCommitted(episode: string): Promise<void> {
    await this.#received.link(episode);
    for (const wake of this.#watchers) wake();
  }
}
