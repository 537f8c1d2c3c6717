/**
 * For tests that need what a developer's machine may lack (root, the native addon): they are left out there, and
 * said to be; in CI they run, and fail where it is lacking.
 */
export function lacks(isThere: boolean): boolean {
  return !isThere && process.env.CI === undefined;
}

export const isRoot = process.getuid?.() === 0;
