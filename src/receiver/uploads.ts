/**
 * The one way a batch comes in: append to the part, check length and hash, make it durable, commit, give the receipt.
 *
 * Promises: no receipt before bytes, name and catalog row are on the disk; the same id and hash always get the same
 * receipt; the same id with another hash is refused and is an alarm; a batch has one writer at a time, and a newer
 * request of the same robot ends an older one that is still waiting for bytes (the draft's own advice: the older
 * connection is dead and only the receiver does not know it yet).
 */
import type { Readable } from "node:stream";
import { type Receipt, signReceipt } from "../protocol/receipt.ts";
import type { BatchDescription } from "../protocol/wire.ts";
import type { Clock } from "../std/clock.ts";
import { failpoint } from "../std/failpoint.ts";
import { Fault } from "../std/fault.ts";
import { formatTime } from "../std/time-text.ts";
import { waitMs } from "../std/wait.ts";
import type { Log } from "../telemetry/log.ts";
import type { BlobStore, Part } from "./blob-store.ts";
import type { Catalog, EpisodeSummary } from "./catalog.ts";
import { readSummary } from "./episode-summary.ts";
import type { ReceiptKey } from "./receipt-key.ts";

export type UploadLimits = {
  readonly batchBytesMax: number;
  /** Free space that uploads must leave on the receiver's disk. */
  readonly freeBytesMin: number;
  /** Uploads of one robot at the same time. */
  readonly perRobotMax: number;
};

export type AppendRequest = {
  readonly robot: string;
  readonly batch: string;
  readonly description: BatchDescription;
  /** undefined: a PUT, which starts at 0 whatever is here. */
  readonly offset: number | undefined;
  /** The bytes that follow are the batch's last. */
  readonly isComplete: boolean;
  readonly body: Readable;
};

export type AppendResult =
  | { readonly kind: "receipted"; readonly receipt: Receipt }
  | { readonly kind: "appended"; readonly offset: number }
  | { readonly kind: "wrong_offset"; readonly offset: number }
  | { readonly kind: "wrong_length" | "wrong_digest" | "other_content" | "busy" | "disk_full" | "too_large" }
  /** The sender went away, or a newer request of its took over; what came is kept. */
  | { readonly kind: "interrupted" };

export type UploadDeps = {
  readonly blobs: BlobStore;
  readonly catalog: Catalog;
  readonly key: ReceiptKey;
  readonly clock: Clock;
  readonly log: Log;
  /** After the catalog's commit, before the answer. */
  onCommitted(episode: string): Promise<void>;
};

type Writer = { readonly robot: string; end(): void };

const TAKE_OVER_TRIES = 50; // × 100 ms: the older writer has 5 s to finish its fsync or to notice its end
const TAKE_OVER_POLL_MS = 100;

export class Uploads {
  readonly #limits: UploadLimits;
  readonly #deps: UploadDeps;
  readonly #writers = new Map<string, Writer>();

  constructor(limits: UploadLimits, deps: UploadDeps) {
    this.#limits = limits;
    this.#deps = deps;
  }

  /** How far a batch has come. Ends an upload of it that is still waiting for bytes. */
  async progress(
    robot: string,
    batch: string,
  ): Promise<{ readonly offset: number; readonly receipt?: Receipt } | "busy"> {
    if (!(await this.#endOlder(`${robot}/${batch}`))) return "busy";
    const known = await this.#deps.catalog.findBatch(robot, batch);
    if (known !== undefined) return { offset: known.sizeBytes, receipt: known.receipt };
    return { offset: await this.#deps.blobs.offset(robot, batch) };
  }

  async append(request: AppendRequest): Promise<AppendResult> {
    const { robot, batch, description, body } = request;
    if (description.sizeBytes > this.#limits.batchBytesMax) return { kind: "too_large" };
    const name = `${robot}/${batch}`;
    const isFree = await this.#endOlder(name);
    // Of two requests that found the batch free at the same instant the second finds the first here.
    if (!isFree || this.#writers.has(name) || this.#countOf(robot) >= this.#limits.perRobotMax) return { kind: "busy" };
    this.#writers.set(name, { robot, end: () => body.destroy() });
    try {
      return await this.#appendAlone(request);
    } catch (error) {
      if (isDiskFull(error)) return { kind: "disk_full" };
      if (body.destroyed && !body.readableEnded) return { kind: "interrupted" };
      throw error;
    } finally {
      this.#writers.delete(name);
    }
  }

  async #appendAlone(request: AppendRequest): Promise<AppendResult> {
    const { robot, batch, description } = request;
    const { blobs, catalog } = this.#deps;
    const known = await catalog.findBatch(robot, batch);
    if (known !== undefined) return this.#answerKnown(known.receipt, request);
    const offset = await blobs.offset(robot, batch);
    if (request.offset !== undefined && request.offset !== offset) return { kind: "wrong_offset", offset };
    const missingBytes = description.sizeBytes - (request.offset ?? 0);
    if ((await blobs.freeBytes()) - missingBytes < this.#limits.freeBytesMin) return { kind: "disk_full" };
    const part = await blobs.append(robot, batch, request.offset ?? 0);
    const end = await this.#receive(part, request);
    if (end === "more") return { kind: "appended", offset: part.sizeBytes() };
    if (end !== "whole") {
      await blobs.discard(robot, batch);
      return { kind: end };
    }
    return { kind: "receipted", receipt: await this.#commit(request) };
  }

  /** Writes the body to the part and says what the part is then. */
  async #receive(part: Part, request: AppendRequest): Promise<"whole" | "more" | "wrong_length" | "wrong_digest"> {
    const { description, isComplete } = request;
    let isWhole = false;
    try {
      // The answer goes out on the same socket: leaving the loop early must not destroy it.
      for await (const bytes of request.body.iterator({ destroyOnReturn: false })) {
        if (part.sizeBytes() + bytes.length > description.sizeBytes) return "wrong_length";
        await part.write(bytes);
      }
      if (!isComplete) return "more";
      if (part.sizeBytes() !== description.sizeBytes) return "wrong_length";
      isWhole = part.hash.digest("hex") === description.sha256;
      return isWhole ? "whole" : "wrong_digest";
    } finally {
      await part.close(isWhole);
    }
  }

  async #commit({ robot, batch, description }: AppendRequest): Promise<Receipt> {
    const { blobs, catalog, key, clock } = this.#deps;
    await blobs.seal(robot, batch, description.sha256);
    failpoint("receiver.blob_sealed");
    const summary = description.kind === "meta" ? await this.#readManifest(robot, batch, description) : undefined;
    const { boot, sha256, sizeBytes } = description;
    const facts = { keyId: key.keyId, robot, boot, batch, sha256, sizeBytes, durability: "disk" } as const;
    const receipt = signReceipt({ ...facts, time: formatTime(clock.wallNs()) }, key.privateKey);
    await catalog.commitBatch({ ...description, robot, batch, receipt }, summary);
    failpoint("receiver.committed");
    await this.#deps.onCommitted(description.episode);
    return receipt;
  }

  async #readManifest(robot: string, batch: string, { sha256 }: BatchDescription): Promise<EpisodeSummary | undefined> {
    const { blobs, log } = this.#deps;
    try {
      return await readSummary(blobs.read(sha256));
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      const cause = error.message;
      log.warn("A manifest could not be read; its episode is listed without one.", { robot, batch_id: batch, cause });
      return undefined;
    }
  }

  #answerKnown(receipt: Receipt, { robot, batch, description }: AppendRequest): AppendResult {
    if (receipt.sha256 === description.sha256) return { kind: "receipted", receipt };
    this.#deps.log.error("A robot sent another content under the id of a batch that is already here.", {
      ...{ robot, batch, stored_sha256: receipt.sha256, sent_sha256: description.sha256 },
    });
    return { kind: "other_content" };
  }

  /** Waits until nobody writes the batch; false if somebody still does after 5 s. */
  async #endOlder(name: string): Promise<boolean> {
    for (let tries = 0; tries < TAKE_OVER_TRIES; tries += 1) {
      const writer = this.#writers.get(name);
      if (writer === undefined) return true;
      writer.end();
      await waitMs(tries === 0 ? 5 : TAKE_OVER_POLL_MS);
    }
    return !this.#writers.has(name);
  }

  #countOf(robot: string): number {
    return [...this.#writers.values()].filter((writer) => writer.robot === robot).length;
  }
}

function isDiskFull(error: unknown): boolean {
  return error instanceof Error && "code" in error && (error.code === "ENOSPC" || error.code === "EDQUOT");
}
