import type {
  BatchesAnswer,
  CaptureAnswer,
  EpisodeAnswer,
  EpisodesAnswer,
  HoursAnswer,
  PauseAnswer,
  StatusAnswer,
  TopicsAnswer,
} from "./answers.ts";

/** What can be asked of a running daemon; the server puts the answers on the wire. */
export interface Commands {
  status(): Promise<StatusAnswer>;
  topics(): Promise<TopicsAnswer>;
  hours(): Promise<HoursAnswer>;
  episodes(): Promise<EpisodesAnswer>;
  /** `id` may be a unique prefix. Throws `Fault("no_such_episode")`. */
  episode(id: string): Promise<EpisodeAnswer>;
  /** A person's labels, note or outcome; every change is kept with its author. */
  label(id: string, request: unknown): Promise<EpisodeAnswer>;
  batches(): Promise<BatchesAnswer>;
  capture(request: unknown): Promise<CaptureAnswer>;
  /** What is in memory only, as a stream (ring/memory-stream.ts). Throws `Fault("other_ring")`. */
  memory(request: unknown): AsyncIterable<Uint8Array>;
  pauseUpload(request: unknown): Promise<PauseAnswer>;
  resumeUpload(): Promise<PauseAnswer>;
}
