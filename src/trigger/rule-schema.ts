/**
 * Rule files as a person writes them: keys, units, defaults. `config/rules.schema.json` is this, written down for
 * editors by `node test/scripts/make-config-docs.ts`, and docs/rules.md has every key (tests hold both).
 */
import { z } from "zod";
import { detectorKinds } from "./detectors/index.ts";

const ms = z.number().min(0).max(86_400_000);
const expression = z.string().min(1);
const topic = z.string().regex(/^\/\S*$/, "a topic starts with a slash, /joint_states");
const type = z.string().regex(/^\w+\/(msg\/)?\w+$/, "a type is pkg/Type or pkg/msg/Type");

const inputSchema = z.union([
  topic.describe("a topic"),
  z.strictObject({
    topic: topic.optional(),
    type: z
      .union([type, z.array(type).min(1)])
      .optional()
      .describe("a message type, or several; found on any topic; pkg/Type and pkg/msg/Type are one"),
    stale_ms: ms.optional().describe("a value older than this is unknown; by default ten of its periods, at least 2 s"),
  }),
]);

const ruleSchema = z.strictObject({
  description: z.string().optional().describe("for people"),
  kind: z
    .enum(["failure", "span", "sample", "manual"])
    .default("failure")
    .describe(
      "failure; span: a whole task, while its condition holds; sample: by the clock; manual: asked for by a person",
    ),
  enabled: z.boolean().default(true).describe("false: switched off, and so is an earlier rule of this name"),
  dry_run: z.boolean().default(false).describe("true: judged and counted, but it opens no episode"),
  inputs: z
    .record(z.string().regex(/^[A-Za-z_]\w*$/, "an input's name is a word"), inputSchema)
    .default({})
    .describe("name: topic, or {topic, type, stale_ms}"),
  when: expression.optional().describe("the condition"),
  detector: z.string().optional().describe("a built-in condition, instead of when"),
  parameters: z.record(z.string(), z.unknown()).default({}).describe("of the detector"),
  cron: z.string().optional().describe("of a sample: the minutes (or, with six fields, seconds) at which it is taken"),
  time_zone: z.string().optional().describe("of cron: Europe/Berlin; by default the computer's own"),
  for_ms: ms.default(0).describe("how long the condition must hold before it fires"),
  clear_when: expression.optional().describe("the condition's end; by default that it does not hold"),
  clear_for_ms: ms.optional().describe("how long the end must hold before it counts; 500, or the detector's"),
  cool_down_ms: ms.optional().describe("quiet time after a firing; 1000, or the detector's"),
  pre_roll_ms: ms.default(10_000).describe("time kept before the firing"),
  post_roll_ms: ms.default(5000).describe("time kept after the end"),
  max_ms: ms.min(1000).default(300_000).describe("the longest episode"),
  recovered_when: expression
    .optional()
    .describe("an expression; cleared: it stayed away for recovered_after_clear_ms; never. Of a span: it succeeded"),
  recovered_after_clear_ms: ms.default(5000).describe("how long it must stay away before that counts as recovered"),
  recovery_timeout_ms: ms.default(60_000).describe("without recovery so long after the last firing or attempt: failed"),
  attempt_when: expression.optional().describe("each rise after the firing is a further attempt"),
  failed_when: expression.optional().describe("its rise: outcome failed"),
  took_over_when: expression.optional().describe("its rise: outcome operator_took_over"),
  on_overlap: z
    .enum(["extend", "split", "ignore"])
    .default("extend")
    .describe("a firing while an episode is open joins it, begins the next, or is only counted"),
  topics: z.array(z.string()).min(1).default(["**"]).describe("globs of the topics that the episode keeps"),
  on_demand: z
    .array(z.string())
    .default(["**"])
    .describe("of the topics that the configuration marks on_demand, those to subscribe while the episode is open"),
  priority: z.number().int().min(0).max(100).optional().describe("higher goes home first; 50, of a sample 10"),
  labels: z.record(z.string(), z.string()).default({}).describe("go into the episode"),
});

export const ruleFileSchema = z.strictObject({
  rules: z.record(z.string().regex(/^[a-z][a-z0-9_]*$/, "a rule's name is lower_case"), ruleSchema).default({}),
});

/** A rule with its defaults filled in. */
export type RuleText = z.infer<typeof ruleSchema>;
export type RuleKey = keyof RuleText;

/** JSON Schema (2020-12) of rule files, with each detector's parameters. */
export function rulesJsonSchema(): Readonly<Record<string, unknown>> {
  const { $schema, ...rest } = z.toJSONSchema(ruleFileSchema, {
    io: "input",
    override: ({ zodSchema, jsonSchema }) => {
      if (zodSchema === ruleSchema) Object.assign(jsonSchema, detectorSchemas());
    },
  });
  return { $schema, title: "Rules of Lode (rules.d/*.yaml)", ...rest };
}

function detectorSchemas(): Readonly<Record<string, unknown>> {
  const kinds = [...detectorKinds.values()];
  const parametersOf = kinds.map(({ name, parameters }) => {
    const { $schema: _, ...schema } = z.toJSONSchema(parameters, { io: "input" });
    return {
      if: { required: ["detector"], properties: { detector: { const: name } } },
      // biome-ignore lint/suspicious/noThenProperty: JSON Schema's own word
      then: { properties: { parameters: schema } },
    };
  });
  return { allOf: [{ properties: { detector: { enum: kinds.map(({ name }) => name) } } }, ...parametersOf] };
}
