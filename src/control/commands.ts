/** What can be asked of a running daemon. Answers are plain objects with our names; the server puts them on the wire. */
export interface Commands {
  status(): Promise<object>;
  topics(): Promise<object>;
  episodes(): Promise<object>;
  /** `id` may be a unique prefix. */
  episode(id: string): Promise<object>;
  batches(): Promise<object>;
  capture(request: unknown): Promise<object>;
  pauseUpload(request: unknown): Promise<object>;
  resumeUpload(): Promise<object>;
}
