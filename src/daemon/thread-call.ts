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

type Waiter = {
  resolve(value: unknown): void;
  reject(error: unknown): void;
  readonly timer: NodeJS.Timeout;
};

/** An fsync of a worn SD card takes seconds; a thread that answers nothing for longer hangs. */
const CALL_DEADLINE_MS = 10_000;

/** A worker thread and the calls that wait for it. */
export class Thread {
  readonly worker: Worker;
  readonly #waiting = new Map<number, Waiter>();
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
      for (const { reject, timer } of this.#waiting.values()) {
        clearTimeout(timer);
        reject(error);
      }
      this.#waiting.clear();
      if (!this.#isEnding) listeners.onDeath(error);
      this.#isEnding = true;
    };
    this.worker.on("error", (error) => die(error instanceof Error ? error : new Error(String(error))));
    this.worker.on("exit", (code) => die(new Error(`a thread ended with code ${code}`)));
  }

  /**
   * The thread's answer; `T` is what the handler of that name returns. Rejects with `Fault("thread_silent")` at the
   * deadline; an answer that comes after it is not waited for any more.
   */
  call<T>(method: string, argument?: unknown, deadlineMs = CALL_DEADLINE_MS): Promise<T> {
    this.#callCount += 1;
    const request: Request = { call: this.#callCount, method, argument };
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#giveUp(request, deadlineMs), deadlineMs);
      this.#waiting.set(request.call, { resolve: (value) => resolve(value as T), reject, timer });
      this.worker.postMessage(request);
    });
  }

  async end(): Promise<void> {
    this.#isEnding = true;
    await this.worker.terminate();
  }

  #giveUp(request: Request, deadlineMs: number): void {
    const waiter = this.#waiting.get(request.call);
    this.#waiting.delete(request.call);
    const hint = "The disk may hang; see the journal. The watchdog starts the daemon again if it stays so.";
    waiter?.reject(new Fault("thread_silent", `No answer to ${request.method} in ${deadlineMs / 1000} s.`, hint));
  }

  #settle(message: Answer): void {
    const waiter = this.#waiting.get(message.answer);
    this.#waiting.delete(message.answer);
    clearTimeout(waiter?.timer);
    if (message.fault === undefined) waiter?.resolve(message.value);
    else waiter?.reject(new Fault(message.fault.code, message.fault.message, message.fault.hint));
  }
}
