/**
 * Writes docs/judging.md: judges the recordings, and takes what judge-faults.ts, judge-headless.ts and judge-demo.ts left
 * in test/data/judging.
 *
 *   node test/scripts/make-judging-docs.ts
 */
import { writeFileSync } from "node:fs";
import { JUDGING_PAGE, judgingPage } from "../support/judging-page.ts";

writeFileSync(JUDGING_PAGE, await judgingPage());
