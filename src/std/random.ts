/** A source of numbers in [0, 1), seedable so that a run can be repeated. */
export type Random = () => number;

/** mulberry32 (T. Ettinger, public domain): 32-bit state, good enough for jitter and simulated variation. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/**
 * Full-jitter back-off: uniform in [0, min(maxMs, baseMs · 2^tries)].
 * Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
 */
export function fullJitterMs(tries: number, baseMs: number, maxMs: number, random: Random): number {
  return random() * Math.min(maxMs, baseMs * 2 ** Math.min(tries, 30));
}
