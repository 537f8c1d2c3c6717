/** What the ring tells the ledger, and when: the counters commit in the ring's own transactions. */
import type { Amount, CountChange, CountedRow, TopicAmount } from "../model/count-change.ts";
import type { Loss } from "../model/loss.ts";
import type { Db } from "../store/database.ts";

export type { Amount, CountChange, TopicAmount };

export interface RingLedger {
  /** Inside the migration that makes a new `ring.db`. */
  createTables(db: Db): void;
  /** Inside the migration to format 2. `rows`: what the chunks hold, per boot and topic, and which are set aside. */
  toFormat2(db: Db, rows: Iterable<CountedRow>): void;
  /** The ring is open: counters live in this database, `add` is for this boot. */
  attach(db: Db, bootId: string): void;
  /** Counts with the next `save`. */
  add(topic: string, change: CountChange, amount: Amount): void;
  /** Counts at once, within the present transaction, for any boot. */
  write(bootId: string, topic: string, change: CountChange, amount: Amount): void;
  /** A row of the loss ledger; the counters are not touched. */
  addLoss(loss: Loss): void;
  readonly isDirty: boolean;
  /** Inside the ring's transaction; `saved` after it. */
  save(): void;
  saved(): void;
  /** Writes the rows of `addLoss` to the journal, if the disk takes them. False: some wait. */
  saveLosses(): boolean;
  /** What was in memory is gone with the process: reduced, or dropped (crash) if an episode wanted it. */
  forgetMemory(bootId: string, wasWanted: boolean): void;
  /** Nothing of the boot is left in the ring: its counters go into the sum of all such boots. */
  foldBoot(bootId: string): void;
  /** The index is being rebuilt: what was stored counts as lost until it is found again. */
  presumeLost(db: Db): void;
  countFound(db: Db, found: TopicAmount): void;
  /** What was not found again; counted as lost for good by `settleLost`. */
  lostTopics(db: Db): readonly TopicAmount[];
  settleLost(db: Db): void;
  /** Of this boot. */
  receivedByTopic(): ReadonlyMap<string, number>;
}
