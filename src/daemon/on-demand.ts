/**
 * Which topics are wanted on demand, decided in the ingest thread, where firings happen.
 *
 * The store thread knows the episodes, but may be in an fsync for longer than a failure lasts. So a firing wants its
 * rule's topics at once, and goes on wanting them until the store has answered it: then the store's word stands, which
 * counts the firings it had heard. What both want stays subscribed throughout.
 */
export class OnDemand {
  #told: readonly string[] = [];
  /** What each firing wants that the store has not answered, the oldest first. */
  #unanswered: (readonly string[])[] = [];
  #answeredCount = 0;

  /** A rule fired, and is told to the store. */
  onFiring(globs: readonly string[]): void {
    this.#unanswered.push(globs);
  }

  /** The store's word when it had heard so many firings. */
  onAnswer(globs: readonly string[], firingCount: number): void {
    this.#told = globs;
    this.#unanswered.splice(0, firingCount - this.#answeredCount);
    this.#answeredCount = firingCount;
  }

  get globs(): readonly string[] {
    return [...new Set([...this.#told, ...this.#unanswered.flat()])];
  }
}
