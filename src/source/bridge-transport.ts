/**
 * roslib's way to the bridge, over `ws`: reads cbor-raw frames by their shape, leaves every other frame to roslib's
 * own decoder, and survives what comes.
 *
 * - A frame over `frameBytesMax`, or one that no decoder understands, costs that frame: it is reported and forgotten.
 * - A frame over `socketBytesMax` is never taken into memory; `ws` can only close the connection over it, which is
 *   reported too, and the owner connects again.
 * - A listener that throws costs the frame it was given.
 * - A bridge that stays silent although it was pinged twice is taken for dead (a half-open link shows no other sign).
 */
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { AbstractTransport, type RosbridgeMessage } from "roslib";
import { WebSocket } from "ws";
import type { LossReason } from "../model/loss.ts";
import type { Clock } from "../std/clock.ts";
import { describeError } from "../std/fault.ts";
import { FrameReader, peekTopic } from "./frame-reader.ts";
import { FrameSplitter } from "./frame-splitter.ts";

export type TransportOptions = {
  /** Larger frames are dropped and counted. A 4K raw image is 25 MB; rosbridge's own default bound is 10 MB. */
  readonly frameBytesMax: number;
  /** Larger frames close the connection, before they can fill the memory. */
  readonly socketBytesMax: number;
  readonly openTimeoutMs: number;
  /** A ping goes out this often; two in a row without any sign of life end the connection. */
  readonly pingMs: number;
  /** What a closing handshake may take before the socket is cut. */
  readonly closeTimeoutMs: number;
};

/**
 * rosbridge_suite cuts a JSON message over its max_message_size into pieces and numbers all such messages 0, so that
 * nobody can put them together (roslib drops them without a word).
 */
const UNUSABLE_FRAGMENT = /^\{"op": ?"fragment", ?"id": ?(0|null),/;

export type FrameDrop = {
  readonly topic: string;
  readonly reason: LossReason;
  readonly bytes: number;
  readonly detail: string;
};

export class BridgeTransport extends AbstractTransport {
  /** Who takes a topic's raw messages at once, without the listeners that roslib calls one after the other. */
  readonly rawListeners = new Map<string, (bytes: Uint8Array) => void>();
  /** Of the frame being delivered: its size, and when it came (monotonic); of one read each is 1 ns after the other. */
  frameBytes = 0;
  frameArrivalNs = 0n;
  /** Why the connection ended, as far as this side knows. */
  endReason = "the bridge closed the connection";
  /** When anything was last heard from the bridge (monotonic). */
  lastHeardNs: bigint;
  readonly #socket: WebSocket;
  readonly #options: TransportOptions;
  readonly #clock: Clock;
  readonly #onDrop: (drop: FrameDrop) => void;
  readonly #reader = new FrameReader();
  #pingTimer: NodeJS.Timeout | undefined;
  #closeTimer: NodeJS.Timeout | undefined;
  #isHeardSincePing = true;
  #silentPingCount = 0;
  #decodeError: unknown;

  constructor(url: string, options: TransportOptions, clock: Clock, onDrop: (drop: FrameDrop) => void) {
    super();
    this.#options = options;
    this.#clock = clock;
    this.#onDrop = onDrop;
    this.lastHeardNs = clock.monotonicNs();
    this.#socket = new WebSocket(url, {
      handshakeTimeout: options.openTimeoutMs,
      maxPayload: options.socketBytesMax,
      // Costs both sides CPU, and images and lz4 gain nothing by it.
      perMessageDeflate: false,
      createConnection: () => this.#openSocket(new URL(url)),
    });
    this.#listen();
  }

  send(message: RosbridgeMessage): void {
    if (this.isOpen()) this.#socket.send(JSON.stringify(message));
  }

  close(): void {
    this.closeBecause("this side closed the connection");
  }

  closeBecause(reason: string): void {
    this.#endAs(reason);
    this.#socket.close();
    this.#closeTimer ??= setTimeout(() => this.#socket.terminate(), this.#options.closeTimeoutMs);
  }

  isConnecting(): boolean {
    return this.#socket.readyState === WebSocket.CONNECTING;
  }

  isOpen(): boolean {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  isClosing(): boolean {
    return this.#socket.readyState === WebSocket.CLOSING;
  }

  isClosed(): boolean {
    return this.#socket.readyState === WebSocket.CLOSED;
  }

  /** Every read goes into the splitter's memory; `ws` gets copies of what it has to see. */
  #openSocket({ protocol, hostname, port }: URL): Socket {
    const host = hostname.replace(/^\[|\]$/g, "");
    const splitter = new FrameSplitter(this.#options.socketBytesMax, {
      onBinary: (bytes, start, end) => this.#receiveBinary(bytes, start, end),
      onRest: (bytes) => socket.push(Buffer.from(bytes)),
    });
    const onread = {
      buffer: () => splitter.room(),
      callback: (count: number) => {
        this.#heard();
        splitter.taken(count);
        return true;
      },
    };
    const isSecure = protocol === "wss:";
    const target = { host, port: Number(port || (isSecure ? 443 : 80)), onread };
    const socket: Socket = isSecure
      ? connectTls({ ...target, servername: isIP(host) === 0 ? host : "" })
      : connectTcp(target);
    return socket;
  }

  #listen(): void {
    const socket = this.#socket;
    socket.on("open", () => {
      this.#heard();
      this.#pingTimer = setInterval(() => this.#ping(), this.#options.pingMs);
      this.emit("open", undefined);
    });
    socket.on("pong", () => this.#heard());
    socket.on("ping", () => this.#heard());
    socket.on("message", (frame: Buffer, isBinary: boolean) => {
      this.#heard();
      if (isBinary) this.#receiveBinary(frame, 0, frame.length);
      else if (this.#begins(frame, 0, frame.length)) this.#receiveText(frame);
    });
    socket.on("error", (error: Error & { readonly code?: string }) => {
      if (error.code === "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH") this.#dropUnread();
      this.#endAs(describeError(error) || (error.code ?? "unknown error"));
    });
    socket.on("close", (code) => {
      clearInterval(this.#pingTimer);
      clearTimeout(this.#closeTimer);
      this.emit("close", code);
    });
    // roslib's decoder catches what it and the listeners throw and emits it here.
    this.on("error", (error) => {
      this.#decodeError ??= error;
    });
  }

  #endAs(reason: string): void {
    if (this.endReason === "the bridge closed the connection") this.endReason = reason;
  }

  #heard(): void {
    this.#isHeardSincePing = true;
    this.lastHeardNs = this.#clock.monotonicNs();
    this.frameArrivalNs = this.lastHeardNs;
  }

  /** Two silent pings, not one: after a stall of this process a timer may run before the socket is read. */
  #ping(): void {
    this.#silentPingCount = this.#isHeardSincePing ? 0 : this.#silentPingCount + 1;
    if (this.#silentPingCount >= 2) {
      this.#endAs(`the bridge answered no ping for ${2 * this.#options.pingMs} ms`);
      this.#socket.terminate();
      return;
    }
    this.#isHeardSincePing = false;
    if (this.isOpen()) this.#socket.ping();
  }

  #receiveBinary(bytes: Buffer, start: number, end: number): void {
    if (!this.#begins(bytes, start, end)) return;
    if (this.#reader.read(bytes, start, end)) this.#deliver();
    else this.#decode(bytes.subarray(start, end), true);
  }

  #receiveText(frame: Buffer): void {
    if (UNUSABLE_FRAGMENT.test(frame.toString("latin1", 0, 64))) this.#dropFragment(frame);
    else this.#decode(frame, false);
  }

  /** False: the frame is too large, which is told. */
  #begins(bytes: Buffer, start: number, end: number): boolean {
    this.frameArrivalNs += 1n;
    this.frameBytes = end - start;
    const { frameBytesMax } = this.#options;
    if (this.frameBytes <= frameBytesMax) return true;
    const detail = `a frame of ${this.frameBytes} bytes is over the bound of ${frameBytesMax}`;
    const topic = peekTopic(bytes.subarray(start, end));
    this.#onDrop({ topic, reason: "oversized_frame", bytes: this.frameBytes, detail });
    return false;
  }

  #deliver(): void {
    const { topic, bytes } = this.#reader;
    const listener = this.rawListeners.get(topic);
    try {
      if (listener === undefined) this.#emitRaw();
      else listener(bytes);
    } catch (error) {
      this.#onDrop({ topic, reason: "malformed_frame", bytes: this.frameBytes, detail: describeError(error) });
    }
  }

  #emitRaw(): void {
    const { topic, secs, nsecs, bytes } = this.#reader;
    const message = { op: "publish", topic, msg: { secs, nsecs, bytes } };
    this.emit("message", message);
  }

  #decode(frame: Buffer, isBinary: boolean): void {
    this.#decodeError = undefined;
    // roslib takes binary only as an ArrayBuffer of its own.
    this.handleRawMessage(isBinary ? new Uint8Array(frame).buffer : frame.toString("utf8"));
    if (this.#decodeError === undefined) return;
    const detail = describeError(this.#decodeError);
    this.#onDrop({ topic: peekTopic(frame), reason: "malformed_frame", bytes: frame.length, detail });
  }

  /** Counted at the first piece: only that one begins with the operation and its topic. */
  #dropFragment(frame: Buffer): void {
    const start = frame.toString("latin1", 0, 512).replaceAll("\\", "");
    const topic = peekTopic(Buffer.from(start, "latin1"));
    const detail = "the message is larger than the bridge's max_message_size, and its pieces have no id";
    if (topic !== "") this.#onDrop({ topic, reason: "oversized_frame", bytes: frame.length, detail });
  }

  #dropUnread(): void {
    const detail = `a frame over ${this.#options.socketBytesMax} bytes: the connection had to be closed over it`;
    this.#onDrop({ topic: "", reason: "oversized_frame", bytes: 0, detail });
  }
}
