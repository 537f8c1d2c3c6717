/** Against the real ros2-web-bridge, over a stand-in for rclnodejs: JSON only, no rosapi, types from the configuration. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { expect, test } from "vitest";
import { WebSocket } from "ws";
import { RunningSource, until } from "./harness.ts";

const require = createRequire(import.meta.url);
const PROGRAM = require.resolve("ros2-web-bridge/bin/rosbridge.js");
const STRING = "std_msgs/msg/String";

async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" ? (address?.port ?? 0) : 0;
}

/** The bridge in its own process, as on a robot. */
class WebBridge {
  readonly url: string;
  readonly #process: ChildProcess;

  private constructor(url: string, bridge: ChildProcess) {
    this.url = url;
    this.#process = bridge;
  }

  static async open(port: number): Promise<WebBridge> {
    const bridge = spawn(process.execPath, ["--no-deprecation", PROGRAM, "--port", String(port)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(bridge.stdout, "data");
    return new WebBridge(`ws://127.0.0.1:${port}`, bridge);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    this.#process.kill("SIGKILL");
    await once(this.#process, "exit");
  }
}

/** The robot: another client of the bridge, which publishes and serves. */
class Robot {
  readonly #socket: WebSocket;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
  }

  static async open(url: string): Promise<Robot> {
    const socket = new WebSocket(url);
    await once(socket, "open");
    return new Robot(socket);
  }

  [Symbol.dispose](): void {
    this.#socket.terminate();
  }

  advertise(topic: string, type: string): void {
    this.#say({ op: "advertise", topic, type });
  }

  publish(topic: string, msg: object): void {
    this.#say({ op: "publish", topic, msg });
  }

  serve(service: string, type: string, answer: (args: unknown) => object): void {
    this.#say({ op: "advertise_service", service, type });
    this.#socket.on("message", (text) => {
      const { op, id, args } = JSON.parse(String(text));
      if (op === "call_service") this.#say({ op: "service_response", service, id, values: answer(args), result: true });
    });
  }

  #say(operation: object): void {
    this.#socket.send(JSON.stringify(operation));
  }
}

test("the bridge runs on the stand-in, not on some ROS of this machine", () => {
  expect(require.resolve("rclnodejs")).toMatch(/test\/rclnodejs\/index\.js$/);
});

test("topics of the configuration come as JSON, although raw was asked for, and are never asked for anew", async () => {
  await using bridge = await WebBridge.open(await findFreePort());
  using robot = await Robot.open(bridge.url);
  const configuredTypes = new Map([["/chatter", STRING]]);
  await using running = new RunningSource(bridge.url, {}, { configuredTypes });
  await until(() => running.sink.announcements.length === 1);
  robot.advertise("/chatter", STRING);
  await until(() => {
    robot.publish("/chatter", { data: "hello" });
    return running.sink.json.length > 0;
  });
  const wireBytes = '{"op":"publish","topic":"/chatter","msg":{"data":"hello"}}'.length;
  expect(running.sink.json[0]).toEqual({ topic: "/chatter", message: { data: "hello" }, wireBytes });
  expect(running.sink.announcements).toEqual([
    { topic: "/chatter", schemaName: STRING, schemaText: undefined, ros: 2, isLatched: false },
  ]);
  expect(running.status("/chatter")?.mode).toBe("none");
  expect(running.sink.drops).toEqual([]);
});

test("a silent topic stays subscribed as it is: the bridge has only one form", async () => {
  await using bridge = await WebBridge.open(await findFreePort());
  using robot = await Robot.open(bridge.url);
  const configuredTypes = new Map([["/chatter", STRING]]);
  await using running = new RunningSource(bridge.url, {}, { configuredTypes });
  await until(() => running.status("/chatter")?.silentReason?.startsWith("Nothing has come") === true);
  robot.advertise("/chatter", STRING);
  robot.publish("/chatter", { data: "late" });
  await until(() => running.sink.json.length === 1);
  expect(running.sink.json).toHaveLength(1);
});

test("a type that the bridge does not know is reported with the bridge's own words", async () => {
  await using bridge = await WebBridge.open(await findFreePort());
  const configuredTypes = new Map([["/odd", "odd_msgs/msg/Odd"]]);
  await using running = new RunningSource(bridge.url, {}, { configuredTypes });
  await until(() => running.status("/odd")?.silentReason?.includes("odd_msgs/msg/Odd") === true);
  expect(running.status("/odd")?.silentReason).toMatch(/^The bridge refused the subscription: /);
});

test("a service is called with its type, and an unknown one fails at once", async () => {
  await using bridge = await WebBridge.open(await findFreePort());
  using robot = await Robot.open(bridge.url);
  robot.serve("/trigger", "std_srvs/srv/Trigger", () => ({ success: true, message: "done" }));
  await using running = new RunningSource(bridge.url, { callTimeoutMs: 5000 });
  await until(() => running.sink.states[0]?.kind === "connected");
  const answer = await running.source.callService("/trigger", "std_srvs/Trigger", {});
  expect(answer).toEqual({ kind: "ok", values: { success: true, message: "done" } });
  expect(await running.source.callService("/x", "odd_msgs/srv/Odd", {})).toMatchObject({ kind: "failed" });
});

test("a bridge that is killed and started again is found, and the topics come again", async () => {
  const port = await findFreePort();
  await using first = await WebBridge.open(port);
  const configuredTypes = new Map([["/chatter", STRING]]);
  await using running = new RunningSource(first.url, {}, { configuredTypes });
  await until(() => running.sink.announcements.length === 1);
  await first[Symbol.asyncDispose]();
  await until(() => running.sink.states.at(-1)?.kind === "disconnected");
  await using second = await WebBridge.open(port);
  using robot = await Robot.open(second.url);
  robot.advertise("/chatter", STRING);
  await until(() => {
    robot.publish("/chatter", { data: "again" });
    return running.sink.json.length > 0;
  });
  expect(running.sink.states.map(({ kind }) => kind)).toEqual(["connected", "disconnected", "connected"]);
});
