/** Opens both databases of a data folder, as the daemon does, and ends: `node open-folder.ts FOLDER`. */
import { openJournal } from "../../src/daemon/journal.ts";
import { Rig } from "../ring/ring-rig.ts";
import { OLD_CLASSES } from "../support/old-folder.ts";

const [folder = ""] = process.argv.slice(2);
openJournal(folder).close();
new Rig({ classes: OLD_CLASSES, bootId: "boot-3" }, folder)[Symbol.dispose]();
