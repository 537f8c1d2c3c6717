/**
 * Notices when a topic brings far fewer messages than it usually does: rosbridge drops what its queue for a client has
 * no room for and says nothing, and only ROS 1 numbers its messages.
 *
 * A hint, made to raise no false alarm: the topic must have been even for a minute, at ten messages a second or more,
 * and then stay low for ten seconds without falling silent, on a connection that stood all the while. After a minute
 * the new rate is the usual one. How many messages are missing nobody knows.
 */
import type { Loss } from "../model/loss.ts";

type Traffic = { readonly topic: string; readonly messages: number };
/** `usual`: messages of the last undisturbed windows; `low`: of those that are too few, since when. */
type Watched = { messages: number; usual: number[]; low: number[]; lowSinceNs: bigint };

const WINDOW_NS = 5_000_000_000n;
const WINDOWS_MIN = 12;
const MESSAGES_MIN = 50;
/** Of an even topic no window, but for one, has less than this share of another. */
const EVEN_SHARE = 0.9;
const LOW_SHARE = 0.75;

export class RateWatch {
  #sinceNs: bigint | undefined;
  #topics = new Map<string, Watched>();

  /** To be called about once a second. `isUndisturbed`: the connection stood since the last call. */
  step(nowNs: bigint, traffic: readonly Traffic[], isUndisturbed: boolean): Loss[] {
    if (!isUndisturbed || this.#sinceNs === undefined) {
      this.#begin(nowNs, traffic);
      return [];
    }
    if (nowNs - this.#sinceNs < WINDOW_NS) return [];
    const scale = Number(WINDOW_NS) / Number(nowNs - this.#sinceNs);
    const losses = traffic.flatMap(({ topic, messages }) => {
      const watched = this.#topics.get(topic);
      const startNs =
        watched === undefined
          ? undefined
          : lowSince(watched, (messages - watched.messages) * scale, this.#sinceNs ?? nowNs);
      if (startNs === undefined) return [];
      return [{ topic, reason: "rate_drop", startNs, endNs: nowNs, count: undefined, bytes: undefined } as const];
    });
    this.#begin(nowNs, traffic);
    return losses;
  }

  /** A new window; topics that are gone are forgotten. */
  #begin(nowNs: bigint, traffic: readonly Traffic[]): void {
    this.#sinceNs = nowNs;
    const before = this.#topics;
    this.#topics = new Map(
      traffic.map(({ topic, messages }) => {
        const { usual = [], low = [], lowSinceNs = nowNs } = before.get(topic) ?? {};
        return [topic, { messages, usual, low, lowSinceNs }];
      }),
    );
  }
}

/** Takes in a window's messages. Since when the topic is low, if it is now and was in the window before. */
function lowSince(watched: Watched, messages: number, windowNs: bigint): bigint | undefined {
  const { usual, low } = watched;
  const [, least = 0] = usual.toSorted((a, b) => a - b); // one window may be out of step: the one in which it fell
  const isEven = usual.length >= WINDOWS_MIN && least >= Math.max(...usual) * EVEN_SHARE && least >= MESSAGES_MIN;
  if (messages === 0 || !isEven || messages >= least * LOW_SHARE) {
    low.length = 0;
    if (messages === 0) usual.length = 0;
    else usual.push(messages);
    if (usual.length > WINDOWS_MIN) usual.shift();
    return undefined;
  }
  if (low.length === 0) watched.lowSinceNs = windowNs;
  low.push(messages);
  if (low.length > WINDOWS_MIN) usual.splice(0, WINDOWS_MIN, ...low.splice(0).slice(-WINDOWS_MIN));
  return low.length < 2 ? undefined : watched.lowSinceNs;
}
