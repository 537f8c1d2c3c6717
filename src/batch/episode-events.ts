/** The episode's own story as messages on `/lode/episode`, so that a viewer shows it on the timeline. */
import type { Channel } from "../model/channel.ts";
import type { Episode } from "../model/episode.ts";
import { chunkOfMessages, type WindowChunk } from "../ring/window.ts";
import { formatTimeNs } from "../std/wire.ts";

const EPISODE_TOPIC = "/lode/episode";

const SCHEMA = {
  type: "object",
  title: "lode.EpisodeEvent",
  required: ["episode", "event", "time"],
  properties: {
    episode: { type: "string", description: "UUID" },
    event: { type: "string", enum: ["firing", "segment", "decision", "outcome"] },
    time: { type: "string", format: "date-time" },
    rule: { type: "string" },
    detector: { type: "string" },
    topic: { type: "string", description: "of the message that made it fire" },
    values: { type: "object", description: "what it fired on" },
    segment: { type: "string", enum: ["before", "failure", "recovery", "after"] },
    attempt: { type: "integer", description: "of a recovery, from 1" },
    outcome: { type: "string", enum: ["recovered", "failed", "operator_took_over", "succeeded", "unknown"] },
    attempts: { type: "integer", description: "tries at the task, the failed one included" },
    evidence: { type: "string", description: "what decided an outcome" },
  },
};

/** The channel, with an id that no channel of the ring has. */
export function episodeChannel(channels: ReadonlyMap<number, Channel>): Channel {
  let id = 65_535;
  while (channels.has(id)) id -= 1;
  const schema = { name: "lode.EpisodeEvent", encoding: "jsonschema", text: JSON.stringify(SCHEMA) } as const;
  return { id, topic: EPISODE_TOPIC, schema, messageEncoding: "json", className: "", isLocal: false, isLatched: false };
}

type Event = { readonly atNs: bigint; readonly fields: object };

export function episodeEventChunk(episode: Episode, channel: Channel): WindowChunk {
  const events: Event[] = [
    ...episode.segments.map(({ kind, attempt, startNs }) => ({
      atNs: startNs,
      fields: { event: "segment", segment: kind, attempt },
    })),
    ...episode.firings.map(({ rule, detector, topic, values, atNs }) => ({
      atNs,
      fields: { event: "firing", rule, detector, topic, values },
    })),
    ...episode.evidence.map(({ kind, outcome, rule, values, atNs }) => ({
      atNs,
      fields: { event: "decision", evidence: kind, outcome, rule, values },
    })),
    { atNs: episode.endNs, fields: { event: "outcome", outcome: episode.outcome, attempts: episode.attempts } },
  ];
  const ordered = events.toSorted((a, b) => Number(a.atNs - b.atNs));
  const messages = ordered.map(({ atNs, fields }, index) => ({
    ...{ channelId: channel.id, sequence: index + 1, logTimeNs: atNs, publishTimeNs: atNs },
    bytes: Buffer.from(JSON.stringify({ episode: episode.id, time: formatTimeNs(atNs), ...fields })),
  }));
  return chunkOfMessages("full", "", messages);
}
