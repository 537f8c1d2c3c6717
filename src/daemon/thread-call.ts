/**
 * Calls between threads: a method name, one argument, one answer, over a MessagePort.
 *
 * Answers come in any order. An error keeps its code and hint across the port. When a thread dies, every call
 * that waits for it is rejected: nobody hangs.
 */
import { basename } from "node:path";
import { type MessagePort, Worker } from "node:worker_threads";
import { Fault } from "../std/fault.ts";

type Request = { readonly call: number; readonly method: string; readonly argument: unknown };
type Answer = {
  readonly answer: number;
  readonly value?: unknown;
  readonly fault?: { code: string; message: string; hint: string };
};

export type Handlers = Readonly<Record<string, (argument: never) => unknown>>;

/** Answers calls on `port`. A handler may return a promise. */
export function serveCalls(
  port: { postMessage(value: unknown): void; on(event: "message", listener: (value: unknown) => void): unknown },
  handlers: Handlers,
): void {
  port.on("message", (message) => {
    if (!isRequest(message)) return;
    void answer(handlers, message).then((reply) => port.postMessage(reply));
  });
}

async function answer(handlers: Handlers, request: Request): Promise<Answer> {
  try {
    const handler = handlers[request.method];
    if (handler === undefined) throw new Error(`no such method: ${request.method}`);
    return { answer: request.call, value: await handler(request.argument as never) };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const isFault = error instanceof Fault;
    return {
      answer: request.call,
      fault: { code: isFault ? error.code : "internal", message, hint: isFault ? error.hint : "" },
    };
  }
}

function isRequest(message: unknown): message is Request {
  return typeof message === "object" && message !== null && "call" in message;
}

function isAnswer(message: unknown): message is Answer {
  return typeof message === "object" && message !== null && "answer" in message;
}

export type ThreadListeners = {
  onNote?(note: unknown): void;
  /** The thread ended without having been asked to. */
  onDeath(error: Error): void;
};

/** A worker thread and the calls that wait for it. */
export class Thread {
  readonly worker: Worker;
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(error: unknown): void }>();
  #callCount = 0;
  #isEnding = false;

  constructor(file: URL, workerData: object, transferList: readonly MessagePort[], listeners: ThreadListeners) {
    // The name that `top -H` shows: "ingest-thread".
    const name = basename(file.pathname, ".ts");
    this.worker = new Worker(file, { name, workerData, transferList: [...transferList] });
    this.worker.on("message", (message) => {
      if (isAnswer(message)) this.#settle(message);
      else listeners.onNote?.(message);
    });
    const die = (error: Error) => {
      for (const { reject } of this.#waiting.values()) reject(error);
      this.#waiting.clear();
      if (!this.#isEnding) listeners.onDeath(error);
      this.#isEnding = true;
    };
    this.worker.on("error", (error) => die(error instanceof Error ? error : new Error(String(error))));
    this.worker.on("exit", (code) => die(new Error(`a thread ended with code ${code}`)));
  }

  /** The thread's answer; `T` is what the handler of that name returns. */
  call<T>(method: string, argument?: unknown): Promise<T> {
    this.#callCount += 1;
    const request: Request = { call: this.#callCount, method, argument };
    return new Promise((resolve, reject) => {
      this.#waiting.set(request.call, { resolve: (value) => resolve(value as T), reject });
      this.worker.postMessage(request);
    });
  }

  async end(): Promise<void> {
    this.#isEnding = true;
    await this.worker.terminate();
  }

  #settle(message: Answer): void {
    const waiter = this.#waiting.get(message.answer);
    this.#waiting.delete(message.answer);
    if (message.fault === undefined) waiter?.resolve(message.value);
    else waiter?.reject(new Fault(message.fault.code, message.fault.message, message.fault.hint));
  }
}
