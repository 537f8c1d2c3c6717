/** What each rule is bound to, or why it is not, as a table; for `lode check` and `lode why`. */
import { paint, table } from "./screen.ts";

export type RuleBinding = {
  readonly rule: string;
  readonly state: string;
  readonly bound_to: readonly string[];
  readonly reason?: string | undefined;
  readonly problems: readonly string[];
};

const WATCHED_MAX = 3;

/** Bound rules first, then those that wait, then those that are switched off. */
export function bindingTable(
  rules: readonly RuleBinding[],
  heads: readonly string[] = [],
  more: Cells = () => [],
): string {
  const order = ["bound", "waiting", "disabled"];
  const rows = rules
    .toSorted((a, b) => order.indexOf(a.state) - order.indexOf(b.state))
    .flatMap((rule) => [
      [rule.rule, stateText(rule.state), ...more(rule), watchedText(rule)],
      ...problemsOf(rule).map((problem) => ["", "", ...more(rule).map(() => ""), paint("yellow", problem)]),
    ]);
  return table(["rule", "state", ...heads, "watches, or why not"], rows);
}

type Cells = (rule: RuleBinding) => readonly string[];

function stateText(state: string): string {
  return state === "bound" ? paint("green", state) : paint(state === "waiting" ? "yellow" : "dim", state);
}

function watchedText({ state, bound_to, reason }: RuleBinding): string {
  if (state !== "bound") return paint("dim", reason ?? "");
  const more = bound_to.length - WATCHED_MAX;
  return `${bound_to.slice(0, WATCHED_MAX).join(" · ")}${more > 0 ? ` · and ${more} more` : ""}`;
}

/** Of a rule that waits the reason says it all. */
function problemsOf({ state, problems }: RuleBinding): readonly string[] {
  return state === "bound" ? problems : [];
}
