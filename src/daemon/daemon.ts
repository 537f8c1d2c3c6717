/**
 * The whole line, put together: source → decode → ring → capture → batch → upload, on four threads.
 *
 * `open` starts what must run before the first message and throws what an operator must mend; `run` ends when the
 * signal fires or a thread dies, in the order of the data's way, so that everything behind has flushed. A thread that
 * dies takes the daemon with it: the service manager restarts it and the ring reopens clean.
 */
import { readFileSync } from "node:fs";
import { MessageChannel } from "node:worker_threads";
import { BatchStore } from "../batch/batch-store.ts";
import type { EpisodeBatchesResult } from "../batch/episode-batches.ts";
import type { LoadedConfig } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import { ControlServer } from "../control/server.ts";
import type { Batch } from "../model/batch.ts";
import type { BootAnchor } from "../model/chunk.ts";
import type { Episode } from "../model/episode.ts";
import { isClockSynchronised, loadNative, notifySystemd } from "../native/addon.ts";
import { BootClocks } from "../ring/boot-clocks.ts";
import { systemClock } from "../std/clock.ts";
import { describeError, Fault } from "../std/fault.ts";
import { fullJitterMs } from "../std/random.ts";
import { aborted } from "../std/wait.ts";
import { Ballast } from "../store/ballast.ts";
import type { Db } from "../store/database.ts";
import { FlashWear } from "../store/flash-wear.ts";
import { FolderLock } from "../store/folder-lock.ts";
import type { Log } from "../telemetry/log.ts";
import { UPLOADER_DEFAULTS, Uploader } from "../upload/uploader.ts";
import { readBootAnchor } from "./boot-anchor.ts";
import { ClockWatch, LOOK_MS } from "./clock-watch.ts";
import { checkConfig } from "./config-check.ts";
import { DaemonCommands } from "./daemon-commands.ts";
import type { IngestThreadData } from "./ingest-thread.ts";
import { batchFolder, forgetOldEpisodes, makeDataFolder } from "./journal.ts";
import { openSoundJournal } from "./journal-mend.ts";
import type { StoreNote } from "./ports.ts";
import type { ReaderThreadData, WriteBatchesRequest } from "./reader-thread.ts";
import { checkRuleFields, parseRuleFiles, readRuleFiles } from "./rule-files.ts";
import type { OpenedStore, StoreThreadData } from "./store-thread.ts";
import { Thread } from "./thread-call.ts";
import { VERSION } from "./version.ts";

export type DaemonDeps = {
  readonly log: Log;
  /** Told of every rule event and sealed episode, for somebody who watches. */
  onNote?(note: StoreNote): void;
  onBatched?(episode: Episode, batches: readonly Batch[]): void;
};

/** Opening a ring of any size takes seconds, on a slow card more; an episode of an hour's frames takes minutes. */
const OPEN_DEADLINE_MS = 60_000;
const BATCH_DEADLINE_MS = 900_000;
/** Both together within the unit's TimeoutStopSec. */
const STOP_DEADLINE_MS = 12_000;
/** A watchdog of 60 s is fed three times in it. */
const NOTIFY_MS = 15_000;
/** Writing an episode's files again, with full jitter: a disk that stays full is not worn by tries. */
const BATCH_RETRY_MS = 5_000;
const BATCH_RETRY_MS_MAX = 300_000;

export class Daemon {
  readonly #config: Config;
  readonly #deps: DaemonDeps;
  readonly commands: DaemonCommands;
  readonly #lock: FolderLock;
  readonly #ballast: Ballast;
  readonly #dying = new AbortController();
  readonly #ingest: Thread;
  readonly #store: Thread;
  readonly #journal: Db;
  readonly #clock: ClockWatch;
  readonly #batches: BatchStore;
  readonly #uploader: Uploader;
  readonly #wear: FlashWear;
  #reader: Thread | undefined;
  #control: ControlServer | undefined;
  /** Sealed episodes whose batch files are being written, one after the other. */
  #batching: Promise<void> = Promise.resolve();
  #isStopping = false;
  #reloading: Promise<void> = Promise.resolve();
  #notify: (text: string) => void = () => {};

  private constructor(config: Config, deps: DaemonDeps, parts: Parts) {
    this.#config = config;
    this.#deps = deps;
    this.#lock = parts.lock;
    this.#ballast = parts.ballast;
    this.#store = parts.store;
    this.#ingest = parts.ingest;
    this.#journal = parts.journal;
    this.#clock = parts.clock;
    this.#batches = BatchStore.open(parts.journal, batchFolder(config.ring.folder), deps.log);
    this.#uploader = openUploader(config, parts.journal, this.#batches, deps.log);
    const { anchor, store, ingest, journal } = parts;
    const { folder, wear_bytes_per_day_max } = config.ring;
    const { bootId } = anchor;
    this.#wear = FlashWear.open(folder, wear_bytes_per_day_max, {
      db: journal,
      clock: systemClock,
      bootId,
      log: deps.log,
    });
    const named = { batches: this.#batches, uploader: this.#uploader, wear: this.#wear };
    this.commands = new DaemonCommands(config, anchor, { store, ingest, journal, ...named });
  }

  /** Throws `Fault`: bad rules, a ring that cannot be opened, another daemon in the folder or on the socket. */
  static async open(config: Config, deps: DaemonDeps): Promise<Daemon> {
    const ruleFiles = readRuleFiles(config.rules);
    const rules = parseRuleFiles(ruleFiles, config.rules.disable);
    checkRuleFields(rules, config.topics.msg_folders);
    makeDataFolder(config.ring.folder);
    const ballast = new Ballast(config.ring.folder, deps.log);
    return await ballast.openWith(() => Daemon.#openFolder(config, deps, { ballast, ruleFiles, rules }));
  }

  static async #openFolder(config: Config, deps: DaemonDeps, given: Given): Promise<Daemon> {
    const { ballast, ruleFiles, rules } = given;
    // Before anything in the folder is opened: opening settles what an earlier process left.
    const lock = FolderLock.open(config.ring.folder);
    const ends: (() => unknown)[] = [() => lock[Symbol.dispose]()];
    try {
      const journal = openSoundJournal(config.ring.folder, deps.log, systemClock.wallNs());
      ends.push(() => journal.close());
      const clocks = new BootClocks(journal);
      const anchor = clocks.keep(readBootAnchor(systemClock));
      const { port1, port2 } = new MessageChannel();
      const late: { daemon?: Daemon } = {};
      const onDeath = (error: Error) => late.daemon?.dieOf(error);
      const policies = rules.map((rule) => rule.policy);
      const storeData: StoreThreadData = { config, anchor, policies, ingestPort: port1 };
      const store = new Thread(new URL("./store-thread.ts", import.meta.url), storeData, [port1], {
        onNote: (note) => late.daemon?.onNote(note as StoreNote),
        onDeath,
      });
      ends.push(() => store.end());
      const opened = await store.call<OpenedStore>("opened", undefined, OPEN_DEADLINE_MS);
      const { lastStoredByBoot, ...known } = opened;
      const ingestData: IngestThreadData = { config, anchor, ...known, ruleFiles, storePort: port2 };
      const ingest = new Thread(new URL("./ingest-thread.ts", import.meta.url), ingestData, [port2], { onDeath });
      ends.push(() => ingest.end());
      const clock = watchClock(clocks, anchor.bootId, lastStoredByBoot, deps.log);
      const daemon = new Daemon(config, deps, { anchor, lock, ballast, store, ingest, journal, clock });
      late.daemon = daemon;
      daemon.#control = await ControlServer.open(config.telemetry.socket, daemon.commands, deps.log);
      // Episodes that waited for their files when an earlier process ended are told again from here on.
      await store.call("start");
      return daemon;
    } catch (error) {
      for (const end of ends.reverse()) await end();
      throw error;
    }
  }

  /** Resolves when everything has flushed. Throws what killed a thread. */
  async run(signal: AbortSignal): Promise<void> {
    const stop = AbortSignal.any([signal, this.#dying.signal]);
    const native = loadNative();
    const notify = (text: string) => notifySystemd("problem" in native ? undefined : native, text);
    this.#notify = notify;
    notify("READY=1");
    const feeder = setInterval(() => void this.#feedWatchdog(notify).catch(() => {}), NOTIFY_MS);
    const watcher = setInterval(() => this.#clock.look(), LOOK_MS);
    const working = Promise.all([this.#uploader.run(stop), this.#ballast.run(stop), this.#wear.run(stop)]);
    await aborted(stop);
    this.#isStopping = true;
    notify("STOPPING=1");
    clearInterval(feeder);
    clearInterval(watcher);
    await this.#control?.[Symbol.asyncDispose]();
    await working;
    await this.#stopThreads();
    this.#uploader[Symbol.dispose]();
    this.#clock[Symbol.dispose]();
    this.#journal.close();
    this.#lock[Symbol.dispose]();
    if (this.#dying.signal.aborted) throw this.#dying.signal.reason;
  }

  /**
   * The rules of the configuration that `read` returns are in force from the next message on: rules whose meaning is
   * the same keep what they have learnt, no message is lost, and an open episode goes on. If anything is wrong with
   * them, as `lode check` would say, the old ones go on, and status and log say why. Of the rest of the configuration
   * nothing is taken.
   */
  reloadRules(read: () => LoadedConfig): Promise<void> {
    this.#reloading = this.#reloading.then(async () => {
      this.#notify(`RELOADING=1\nMONOTONIC_USEC=${systemClock.monotonicNs() / 1000n}`);
      this.commands.rulesProblem = await this.#reloadRules(read);
      this.#notify("READY=1");
    });
    return this.#reloading;
  }

  /** Returns why the old ones stay. */
  async #reloadRules(read: () => LoadedConfig): Promise<string | undefined> {
    const { log } = this.#deps;
    try {
      const loaded = read();
      checkConfig(loaded);
      const { rules: own, topics } = loaded.config;
      const files = readRuleFiles(own);
      const rules = parseRuleFiles(files, own.disable);
      checkRuleFields(rules, topics.msg_folders);
      await this.#ingest.call("setRules", { files, disabled: own.disable });
      log.info("New rules are in force.", { rules: rules.filter((rule) => rule.isEnabled).map((rule) => rule.name) });
      return undefined;
    } catch (error) {
      log.error("The new rules are not in force; the old ones go on.", { cause: describeError(error) });
      return describeError(error);
    }
  }

  /** A thread died: nothing can be promised any more. */
  dieOf(error: Error): void {
    this.#deps.log.error("A thread ended by itself; the daemon stops and must be started again.", {
      cause: describeError(error),
    });
    this.#dying.abort(error);
  }

  onNote(note: StoreNote): void {
    this.#deps.onNote?.(note);
    if (note.kind === "sealed") this.#batchLater(note.episode, 0);
  }

  #batchLater(episode: Episode, tries: number): void {
    this.#batching = this.#batching.then(() => this.#writeBatches(episode, tries));
  }

  /** The threads answer, so they make progress; a silent or failing one lets the watchdog run out. */
  async #feedWatchdog(notify: (text: string) => void): Promise<void> {
    notify(`WATCHDOG=1\nSTATUS=${await this.commands.pulse()}`);
  }

  /** The episode stays held, and is tried again, until its files are durable and known. */
  async #writeBatches(episode: Episode, tries: number): Promise<void> {
    const { log } = this.#deps;
    try {
      forgetOldEpisodes(this.#journal);
      const request: WriteBatchesRequest = { episode, ...(await this.commands.missingNow()) };
      const result = await this.#readerThread().call<EpisodeBatchesResult>("writeBatches", request, BATCH_DEADLINE_MS);
      await this.#store.call(
        "batched",
        { episode: result.episode, made: result.batches, damaged: result.damaged },
        OPEN_DEADLINE_MS,
      );
      log.info("An episode's batches are written.", { episode_id: episode.id, batches: result.batches.length });
      this.#deps.onBatched?.(result.episode, result.batches);
      this.#uploader.wake();
    } catch (error) {
      if (this.#isStopping || this.#dying.signal.aborted) return; // it is told again at the next start
      log.error("An episode's batches could not be written; it stays held and is tried again.", {
        episode_id: episode.id,
        cause: describeError(error),
      });
      if (error instanceof Fault && error.code === "corrupt_ring")
        await this.#store.call("mendRing", error.message, OPEN_DEADLINE_MS);
      const restMs = BATCH_RETRY_MS + fullJitterMs(tries, BATCH_RETRY_MS, BATCH_RETRY_MS_MAX, Math.random);
      const retry = setTimeout(() => this.#batchLater(episode, tries + 1), restMs);
      retry.unref();
    }
  }

  #readerThread(): Thread {
    const data: ReaderThreadData = { config: this.#config, version: VERSION };
    // A reader that dies loses nothing: its call fails and is tried again on a new one.
    this.#reader ??= new Thread(new URL("./reader-thread.ts", import.meta.url), data, [], {
      onDeath: () => {
        this.#reader = undefined;
      },
    });
    return this.#reader;
  }

  /** Ingest first: what it flushes must still find the store. */
  async #stopThreads(): Promise<void> {
    const isWhole = !this.#dying.signal.aborted;
    if (isWhole) await this.#ingest.call("stop", undefined, STOP_DEADLINE_MS);
    if (isWhole) await this.#store.call("stop", undefined, STOP_DEADLINE_MS);
    await Promise.all([this.#ingest.end(), this.#store.end(), this.#reader?.end()]);
  }
}

type Given = {
  readonly ballast: Ballast;
  readonly ruleFiles: ReturnType<typeof readRuleFiles>;
  readonly rules: ReturnType<typeof parseRuleFiles>;
};

type Parts = {
  readonly anchor: BootAnchor;
  readonly lock: FolderLock;
  readonly ballast: Ballast;
  readonly store: Thread;
  readonly ingest: Thread;
  readonly journal: Db;
  readonly clock: ClockWatch;
};

function watchClock(clocks: BootClocks, bootId: string, lastStored: ReadonlyMap<string, bigint>, log: Log): ClockWatch {
  const loaded = loadNative();
  const native = "problem" in loaded ? undefined : loaded;
  return ClockWatch.open(clocks, bootId, {
    ...{ clock: systemClock, log, isSynchronised: () => isClockSynchronised(native) },
    uptimeMs: () => Number(readFileSync("/proc/uptime", "utf8").split(" ")[0]) * 1000,
    lastStored,
  });
}

function openUploader(config: Config, journal: Db, batches: BatchStore, log: Log): Uploader {
  const { upload, robot } = config;
  return Uploader.open(
    {
      ...UPLOADER_DEFAULTS,
      robot: robot.id,
      receivers: upload.receivers.map(({ url, token_file, public_keys }) => ({
        url,
        tokenFile: token_file,
        publicKeys: public_keys,
      })),
      gate: {
        dailyBytesMax: { free: upload.free.daily_bytes_max, metered: upload.metered.daily_bytes_max },
        linkSettledMs: UPLOADER_DEFAULTS.linkSettledMs,
      },
      windows: upload.windows,
      meteredInterfaces: upload.metered_interfaces,
    },
    { batches, db: journal, clock: systemClock, random: Math.random, log },
  );
}
