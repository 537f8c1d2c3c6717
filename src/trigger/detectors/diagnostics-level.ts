/**
 * Diagnostics level: a component that was heard in order says that it no longer is.
 *
 * Condition per status name: level ≥ `level` (0 OK, 1 WARN, 2 ERROR, 3 STALE), unknown until the status has been heard
 * below it: what is broken, or not yet started, from the beginning is no news. STALE counts only if `stale_counts`: an
 * aggregator says STALE of everything while it starts.
 * Source: REP 107 and diagnostic_msgs/DiagnosticStatus.
 */
import { z } from "zod";
import type { Channel } from "../../model/channel.ts";
import {
  type Detector,
  type DetectorDeps,
  type DetectorKind,
  type Listener,
  numbersOf,
  readerOf,
  type Subject,
  textsOf,
} from "../detector.ts";
import { plainTypeName } from "../seams.ts";

const parametersSchema = z.strictObject({
  level: z.number().int().min(1).max(3).default(2),
  stale_counts: z.boolean().default(false),
  /** Only status names that contain this text. */
  name_contains: z.string().default(""),
});
type Parameters = z.infer<typeof parametersSchema>;

const STALE = 3;
const SUBJECTS_MAX = 1000; // a broken publisher must not fill the memory with new names

export const diagnosticsLevel: DetectorKind = {
  name: "diagnostics_level",
  parameters: parametersSchema,
  roles: ["diagnostics"],
  needs: "a diagnostic_msgs/DiagnosticArray",
  recoversWhen: "cleared",
  clearForMs: 1500, // statuses come once a second
  coolDownMs: 5000,
  open: (parameters, deps) => new DiagnosticsLevel(parametersSchema.parse(parameters), deps),
};

class DiagnosticsLevel implements Detector {
  readonly #parameters: Parameters;
  readonly #deps: DetectorDeps;
  readonly #subjects = new Map<string, Subject>();
  /** Names that were heard below the level. */
  readonly #inOrder = new Set<string>();
  #topics: string[] = [];

  constructor(parameters: Parameters, deps: DetectorDeps) {
    this.#parameters = parameters;
    this.#deps = deps;
  }

  bind(channel: Channel): Listener | undefined {
    const named = this.#deps.topicOf("diagnostics");
    const isWanted = named === undefined || channel.topic === named;
    if (!isWanted || plainTypeName(channel.schema.name) !== "diagnostic_msgs/DiagnosticArray") return undefined;
    const levels = readerOf(this.#deps.fields, channel, "status[*].level");
    const names = readerOf(this.#deps.fields, channel, "status[*].name");
    const messages = readerOf(this.#deps.fields, channel, "status[*].message");
    if (levels === undefined || names === undefined) return undefined;
    this.#topics.push(channel.topic);
    // The aggregated topic repeats the plain one under other names: it counts where there is no other.
    const isRepeated = named === undefined && channel.topic.endsWith("_agg");
    return (message) => {
      if (isRepeated && this.#topics.some((topic) => !topic.endsWith("_agg"))) return;
      const level = numbersOf(levels(message));
      const texts = textsOf(messages?.(message));
      for (const [index, name] of textsOf(names(message)).entries())
        this.#hear(channel.topic, name, level[index] ?? 0, texts[index] ?? "");
    };
  }

  describe(): readonly string[] {
    return this.#topics;
  }

  #hear(topic: string, name: string, level: number, text: string): void {
    const { level: limit, stale_counts, name_contains } = this.#parameters;
    if (!name.includes(name_contains)) return;
    const subject = this.#subjects.get(name) ?? this.#watch(topic, name);
    if (subject === undefined) return;
    const isTold = level < STALE || stale_counts;
    if (isTold && level < limit) this.#inOrder.add(name);
    subject.condition = isTold && this.#inOrder.has(name) ? level >= limit : undefined;
    subject.values = () => ({ status: name, level, message: text });
  }

  #watch(topic: string, name: string): Subject | undefined {
    if (this.#subjects.size >= SUBJECTS_MAX) return undefined;
    const subject = this.#deps.watch(topic, name);
    this.#subjects.set(name, subject);
    return subject;
  }
}
