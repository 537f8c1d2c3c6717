declare module "lz4js" {
  /** Decodes a whole LZ4 frame. */
  export function decompress(frame: Uint8Array, maxSize?: number): Uint8Array;
}
