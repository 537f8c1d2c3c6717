/** A batch: one immutable, content-hashed file made for sending. */
export type BatchKind = "meta" | "light" | "heavy";

export type Batch = {
  readonly id: string; // UUID
  readonly episodeId: string;
  /** The boot in which the episode opened; signed into the receipt. */
  readonly bootId: string;
  readonly kind: BatchKind;
  /** 0 for meta and light; heavy-1, heavy-2 … outward from the firing. */
  readonly index: number;
  readonly path: string;
  readonly sizeBytes: number;
  /** Lower-case hex. */
  readonly sha256: string;
  /** `application/json` of a meta batch (manifest with inline previews), `application/mcap` of the others. */
  readonly mediaType: string;
  readonly startNs: bigint;
  readonly endNs: bigint;
  /** Higher goes first; the episode's priority and the batch's kind decide. */
  readonly priority: number;
  readonly createdNs: bigint;
  readonly state: "queued" | "receipted" | "deleting" | "deleted" | "quarantined";
  readonly quarantineReason: string | undefined;
};
