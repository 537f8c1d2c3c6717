/** What a changed rule takes over from the one of its name, so that an episode that is open goes on. */
export type Standing = {
  /** What has fired and not cleared: things watched, or "" for an expression's condition. */
  readonly highs: ReadonlySet<string>;
  /** Rule time until when an attempt or a recovery would be told. */
  readonly openUntilMs: number;
};

export const AT_REST: Standing = { highs: new Set(), openUntilMs: Number.NEGATIVE_INFINITY };
