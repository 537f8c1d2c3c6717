/**
 * The two clocks of a computer, brought in from outside so that tests can move them.
 *
 * The wall names instants and may jump; the monotonic clock measures waits and never goes back.
 */
export interface Clock {
  /** Nanoseconds since the Unix epoch. */
  wallNs(): bigint;
  /** Nanoseconds since an arbitrary start; the same in every thread of the process. */
  monotonicNs(): bigint;
}

export const systemClock: Clock = {
  wallNs: () => BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000)) * 1000n + wallStepNs(),
  monotonicNs: () => process.hrtime.bigint(),
};

/** `performance` keeps the offset of the process start; the wall may have been stepped since. */
function wallStepNs(): bigint {
  const driftMs = Date.now() - (performance.timeOrigin + performance.now());
  return Math.abs(driftMs) > 2 ? BigInt(Math.round(driftMs)) * 1_000_000n : 0n;
}

/** A clock that moves only when told, for tests. */
export class ManualClock implements Clock {
  #wallNs: bigint;
  #monotonicNs = 0n;

  constructor(wallNs = 1_800_000_000_000_000_000n) {
    this.#wallNs = wallNs;
  }

  wallNs(): bigint {
    return this.#wallNs;
  }

  monotonicNs(): bigint {
    return this.#monotonicNs;
  }

  advanceMs(ms: number): void {
    const ns = BigInt(Math.round(ms * 1e6));
    this.#wallNs += ns;
    this.#monotonicNs += ns;
  }

  /** Steps the wall alone, as NTP or a person does. */
  stepWallMs(ms: number): void {
    this.#wallNs += BigInt(Math.round(ms * 1e6));
  }
}
