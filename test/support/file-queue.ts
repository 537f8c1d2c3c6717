/** A `BatchQueue` over plain files, with its own record of what was promised, for tests of the uploader alone. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Batch } from "../../src/model/batch.ts";
import type { BatchQueue } from "../../src/upload/uploader.ts";

export class FileQueue implements BatchQueue {
  readonly batches = new Map<string, Batch>();
  readonly #folder: string;

  /** Finds again what an earlier queue left in the folder. */
  constructor(folder: string) {
    mkdirSync(folder, { recursive: true });
    this.#folder = folder;
    for (const name of readdirSync(folder).sort()) this.#adopt(name, readFileSync(join(folder, name)));
  }

  /** Writes a batch's file; a higher priority goes first, among equals the order of adding. */
  add(id: string, bytes: Uint8Array, more: Partial<Batch> = {}): Batch {
    writeFileSync(join(this.#folder, id), bytes);
    return this.#adopt(id, bytes, more);
  }

  next(excluding: ReadonlySet<string>): Batch | undefined {
    const queued = [...this.batches.values()].filter((batch) => batch.state === "queued" && !excluding.has(batch.id));
    return queued.sort((a, b) => b.priority - a.priority)[0];
  }

  recordReceipt(id: string): void {
    this.#change(id, { state: "receipted" });
  }

  release(id: string): void {
    rmSync(join(this.#folder, id), { force: true });
    this.#change(id, { state: "deleted" });
  }

  quarantine(id: string, quarantineReason: string): void {
    this.#change(id, { state: "quarantined", quarantineReason });
  }

  idsIn(state: Batch["state"]): string[] {
    return [...this.batches.values()].filter((batch) => batch.state === state).map((batch) => batch.id);
  }

  hasFile(id: string): boolean {
    return existsSync(join(this.#folder, id));
  }

  #adopt(id: string, bytes: Uint8Array, more: Partial<Batch> = {}): Batch {
    const batch: Batch = {
      ...{ id, episodeId: "0198-episode", bootId: "boot-1", kind: "light", index: 0, path: join(this.#folder, id) },
      ...{ sizeBytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") },
      ...{ mediaType: "application/mcap", startNs: 0n, endNs: 1n, priority: 0, createdNs: 0n },
      ...{ state: "queued", quarantineReason: undefined, ...more },
    };
    this.batches.set(id, batch);
    return batch;
  }

  #change(id: string, change: Partial<Batch>): void {
    const batch = this.batches.get(id);
    if (batch !== undefined) this.batches.set(id, { ...batch, ...change });
  }
}
