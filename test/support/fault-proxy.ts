/**
 * A TCP proxy that breaks connections where a test says: at a byte of either direction, or after a delay.
 *
 * Cutting resets both sides at once (RST), as a lost network or a killed process does. What it passed on before the
 * cut is exactly the bytes before that position.
 */
import { connect, createServer, type Server, type Socket } from "node:net";

export type Fault =
  | { readonly kind: "none" }
  /** Cut when so many bytes have gone from the client (`up`) or to it (`down`). */
  | { readonly kind: "cut"; readonly direction: "up" | "down"; readonly afterBytes: number; readonly silentMs?: number }
  /** Pass everything up, answer nothing: the lost final response. */
  | { readonly kind: "swallow_answer"; readonly afterBytes: number }
  /** Hold each piece back for a while. */
  | { readonly kind: "delay"; readonly ms: number }
  /** Pass up no faster than this, as a narrow link does: the sender feels it. */
  | { readonly kind: "narrow"; readonly bytesPerS: number };

const CUT_AFTER_MS = 8;

export class FaultProxy {
  readonly port: number;
  readonly #server: Server;
  readonly #sockets: Set<Socket>;
  connections = 0;
  cuts = 0;
  bytesUp = 0;

  private constructor(port: number, server: Server, sockets: Set<Socket>) {
    this.port = port;
    this.#server = server;
    this.#sockets = sockets;
  }

  /** `nextFault` is asked once a connection. */
  static async open(targetPort: () => number, nextFault: (connection: number) => Fault): Promise<FaultProxy> {
    const sockets = new Set<Socket>();
    const server = createServer((client) => {
      const upstream = connect(targetPort(), "127.0.0.1");
      for (const socket of [client, upstream]) {
        sockets.add(socket);
        socket.setNoDelay(true);
        socket.on("error", () => {});
        socket.on("close", () => sockets.delete(socket));
      }
      proxy.#join(client, upstream, nextFault(proxy.connections++));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    const proxy = new FaultProxy(typeof address === "object" && address !== null ? address.port : 0, server, sockets);
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Resets every connection, as an interface that goes away. */
  cutAll(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cutAll();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #join(client: Socket, upstream: Socket, fault: Fault): void {
    const cut = () => {
      this.cuts += 1;
      client.resetAndDestroy();
      upstream.resetAndDestroy();
    };
    this.#pass(client, upstream, "up", fault, cut);
    this.#pass(upstream, client, "down", fault, cut);
  }

  #pass(from: Socket, to: Socket, direction: "up" | "down", fault: Fault, cut: () => void): void {
    let left = limitOf(fault, direction);
    from.on("data", (bytes: Buffer) => {
      const passed = bytes.subarray(0, Math.min(bytes.length, left));
      left -= passed.length;
      if (direction === "up") this.bytesUp += passed.length;
      if (fault.kind === "delay") setTimeout(() => to.write(passed), fault.ms);
      else if (fault.kind === "narrow" && direction === "up") {
        to.write(passed);
        from.pause();
        setTimeout(() => from.resume(), (1000 * passed.length) / fault.bytesPerS);
      } else if (passed.length > 0 && !to.write(passed)) {
        from.pause();
        to.once("drain", () => from.resume());
      }
      // Silence comes before the reset, as on a lost network: a reset at once would throw away what was passed.
      if (left === 0) setTimeout(cut, fault.kind === "cut" ? (fault.silentMs ?? CUT_AFTER_MS) : CUT_AFTER_MS);
      if (left === 0) from.removeAllListeners("data");
    });
    from.on("end", () => to.end());
    from.on("close", () => to.destroySoon());
  }
}

function limitOf(fault: Fault, direction: "up" | "down"): number {
  if (fault.kind === "cut" && fault.direction === direction) return Math.max(1, fault.afterBytes);
  if (fault.kind === "swallow_answer" && direction === "down") return Math.max(1, fault.afterBytes);
  return Number.POSITIVE_INFINITY;
}
