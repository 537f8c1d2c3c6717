import picomatch from "picomatch";

export type Matcher = (name: string) => boolean;

/**
 * Topic globs as a shell user expects: `*` stays within one name part, `**` crosses slashes,
 * `{a,b}` alternates. A name that starts with a dot or an underscore is nothing special.
 */
export function compileGlobs(globs: readonly string[]): Matcher {
  if (globs.length === 0) return () => false;
  return picomatch([...globs], { dot: true, nonegate: true });
}
