/** A disk whose segment files take nothing while it `refuses`, and that syncs nothing while it `failsToSync`. */
import { realSegmentIo, type SegmentIo } from "../../src/ring/segment-io.ts";

export class BrokenDisk {
  refuses = false;
  failsToSync = false;
  readonly io: SegmentIo;

  constructor(code: "ENOSPC" | "EIO" = "ENOSPC") {
    const real = realSegmentIo(undefined);
    const failIf = (doesFail: boolean) => {
      if (doesFail) throw Object.assign(new Error(`${code}: the disk takes nothing`), { code });
    };
    this.io = {
      open: real.open,
      preallocate: (fd, sizeBytes) => {
        failIf(this.refuses);
        real.preallocate(fd, sizeBytes);
      },
      write: (fd, buffers, offset) => {
        failIf(this.refuses);
        real.write(fd, buffers, offset);
      },
      sync: (fd) => {
        failIf(this.failsToSync);
        real.sync(fd);
      },
    };
  }
}
