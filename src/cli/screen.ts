/** Plain, aligned text for a terminal: headings, tables, colours only where somebody watches. */
import { styleText } from "node:util";

type Style = "bold" | "dim" | "red" | "green" | "yellow" | "cyan" | "magenta";

/** Colour when stdout (or the given stream) is a terminal and NO_COLOR is not set. */
export function paint(style: Style, text: string, stream: NodeJS.WriteStream = process.stdout): string {
  return styleText(style, text, { stream });
}

const ESCAPE = String.fromCharCode(27);
const COLOUR = new RegExp(`${ESCAPE}\\[[0-9;]*m`, "g");

function width(text: string): number {
  return text.replace(COLOUR, "").length;
}

/** Columns as wide as their widest cell; a column whose head starts with ">" is aligned right. */
export function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const isRight = heads.map((head) => head.startsWith(">"));
  const names = heads.map((head) => paint("dim", head.replace(/^>/, "")));
  const widths = names.map((name, column) => Math.max(width(name), ...rows.map((row) => width(row[column] ?? ""))));
  const line = (cells: readonly string[]) =>
    widths
      .map((columnWidth, column) => {
        const cell = cells[column] ?? "";
        const padding = " ".repeat(columnWidth - width(cell));
        return isRight[column] === true ? padding + cell : cell + padding;
      })
      .join("  ")
      .trimEnd();
  return [line(names), ...rows.map(line)].join("\n");
}

/** `label      text`, the label dim and of one width down the screen. */
export function field(label: string, text: string): string {
  return `${paint("dim", label.padEnd(11))}${text}`;
}

export function outcomeText(outcome: string): string {
  const style: Readonly<Record<string, Style>> = {
    recovered: "green",
    succeeded: "green",
    failed: "red",
    operator_took_over: "yellow",
  };
  return paint(style[outcome] ?? "dim", outcome);
}
