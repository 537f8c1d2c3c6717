#!/usr/bin/env node
// Plain JavaScript: an old Node must get as far as this line to say what is wrong.
const NODE_MAJOR_MIN = 24;
const major = Number(process.versions.node.split(".")[0]);
if (major < NODE_MAJOR_MIN) {
  console.error(
    `lode: this is Node ${process.versions.node}; Lode needs ${NODE_MAJOR_MIN} or newer.\n` +
      "hint: run it through npm (npm run lode -- …), which brings its own Node, or install the package.",
  );
  process.exit(2);
}
await import("./lode.ts");
