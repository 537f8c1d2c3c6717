/** Who looks at messages on their way beside the rules; the bytes are borrowed for the call, and nothing may throw. */
import type { FieldReader } from "../decode/field.ts";
import type { Channel } from "../model/channel.ts";

export type { FieldReader };
export type FieldAccess = (channel: Channel, path: string) => FieldReader | { readonly problem: string };
/** `atNs`: log_time. */
export type MessageListener = (message: Uint8Array, atNs: bigint) => void;
