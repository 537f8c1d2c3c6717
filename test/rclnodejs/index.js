/**
 * A stand-in for rclnodejs: one node, topics and services in memory, no ROS.
 *
 * Has just what ros2-web-bridge uses, and fails where rclnodejs fails: on types it does not know and on bad names.
 */
const KNOWN_TYPES = new Set([
  "std_msgs/msg/String",
  "sensor_msgs/msg/Imu",
  "sensor_msgs/msg/JointState",
  "sensor_msgs/msg/CompressedImage",
  "odd_robot_msgs/msg/Belief",
  "std_srvs/srv/Trigger",
  "example_interfaces/srv/AddTwoInts",
]);

let isDown = true;

function requireType(type) {
  if (!KNOWN_TYPES.has(type)) throw new Error(`The message required does not exist: ${type}`);
}

function requireName(name) {
  if (!/^\/?[A-Za-z_][A-Za-z0-9_/]*$/.test(name)) throw new TypeError(`Invalid name: ${name}`);
}

/** Callbacks run later, as they do out of rclnodejs's spinning. */
function later(call) {
  setImmediate(call);
}

class Node {
  #subscriptionsByTopic = new Map();
  #servicesByName = new Map();

  createPublisher(type, topic) {
    requireType(type);
    requireName(topic);
    const deliver = (message) => {
      for (const { callback } of this.#subscriptionsOf(topic)) callback(message);
    };
    return { publish: (message) => later(() => deliver(message)) };
  }

  createSubscription(type, topic, _options, callback) {
    requireType(type);
    requireName(topic);
    const subscription = { topic, callback };
    this.#subscriptionsOf(topic).add(subscription);
    return subscription;
  }

  createClient(type, name) {
    requireType(type);
    const callService = (request, callback) =>
      this.#servicesByName.get(name)?.(request, { send: (values) => later(() => callback(values)) });
    return { sendRequest: (request, callback) => later(() => callService(request, callback)) };
  }

  createService(type, name, _options, callback) {
    requireType(type);
    requireName(name);
    this.#servicesByName.set(name, callback);
    return { name };
  }

  destroyPublisher() {}

  destroySubscription(subscription) {
    this.#subscriptionsOf(subscription.topic).delete(subscription);
  }

  destroyClient() {}

  destroyService({ name }) {
    this.#servicesByName.delete(name);
  }

  #subscriptionsOf(topic) {
    const subscriptions = this.#subscriptionsByTopic.get(topic) ?? new Set();
    this.#subscriptionsByTopic.set(topic, subscriptions);
    return subscriptions;
  }
}

module.exports = {
  init: async () => {
    isDown = false;
  },
  createNode: () => new Node(),
  spin: () => {},
  isShutdown: () => isDown,
  shutdown: () => {
    isDown = true;
  },
  validator: { validateFullTopicName: requireName, validateTopicName: requireName },
};
