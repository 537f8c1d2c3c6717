/** What a changed rule takes over from the one of its name, so that an episode that is open goes on. */
export type Standing = {
  /** What has fired and not cleared: things watched, or "" for an expression's condition. */
  readonly highs: ReadonlySet<string>;
  /** Whether an attempt or a recovery would be told. */
  readonly isOpen: boolean;
};

export const AT_REST: Standing = { highs: new Set(), isOpen: false };
