import { expect, test } from "vitest";
import { finishConfig } from "../../src/config/load.ts";
import { compileTopicPlan } from "../../src/config/topic-plan.ts";
import { judgePhysics, simulationSign, type TopicRole, topicRole } from "../../src/model/operation.ts";

const KNOWN: Readonly<Record<TopicRole, readonly (readonly [string, string])[]>> = {
  action: [
    ["/cmd_vel", "geometry_msgs/Twist"],
    ["/mobile_base/commands/velocity", "geometry_msgs/msg/Twist"],
    ["/navigation_velocity_smoother/raw_cmd_vel", "geometry_msgs/Twist"],
    ["/arm_controller/command", "trajectory_msgs/JointTrajectory"],
    ["/joint_trajectory_controller/joint_trajectory", "trajectory_msgs/msg/JointTrajectory"],
    ["/gripper/command", "control_msgs/GripperCommand"],
    ["/move_base/goal", "move_base_msgs/MoveBaseActionGoal"],
    ["/move_base_simple/goal", "geometry_msgs/PoseStamped"],
    ["/mavros/setpoint_raw/target_attitude", "mavros_msgs/AttitudeTarget"],
    ["/forward_position_controller/commands", "std_msgs/msg/Float64MultiArray"],
    ["/coug2/desired_depth", "frost_interfaces/msg/DesiredDepth"],
    ["/joint_command", "sensor_msgs/msg/JointState"],
    ["/drive", "ackermann_msgs/msg/AckermannDriveStamped"],
  ],
  observation: [
    ["/joint_states", "sensor_msgs/JointState"],
    ["/odom", "nav_msgs/Odometry"],
    ["/camera/image/compressed", "sensor_msgs/msg/CompressedImage"],
    ["/twist", "geometry_msgs/TwistStamped"],
    ["/move_base/status", "actionlib_msgs/GoalStatusArray"],
    ["/arm_controller/state", "control_msgs/JointTrajectoryControllerState"],
    ["/navigate/_action/feedback", "nav2_msgs/action/NavigateToPose_FeedbackMessage"],
    ["/scan", "sensor_msgs/LaserScan"],
    ["/tf", "tf2_msgs/msg/TFMessage"],
    ["/task/state", "std_msgs/String"],
  ],
  operator: [
    ["/joy", "sensor_msgs/Joy"],
    ["/teleop/cmd_vel", "geometry_msgs/Twist"],
    ["/leader/joint_states", "sensor_msgs/msg/JointState"],
    ["/spacenav/twist", "geometry_msgs/Twist"],
  ],
  context: [
    ["/tf_static", "tf2_msgs/TFMessage"],
    ["/rosout", "rcl_interfaces/msg/Log"],
    ["/robot_description", "std_msgs/msg/String"],
    ["/diagnostics", "diagnostic_msgs/DiagnosticArray"],
    ["/camera/camera_info", "sensor_msgs/CameraInfo"],
    ["/events/write_split", "rosbag2_interfaces/msg/WriteSplitEvent"],
    ["/map", "nav_msgs/OccupancyGrid"],
  ],
};

test("commands, what was sensed, a person's devices and context are told apart by name and type", () => {
  for (const [role, topics] of Object.entries(KNOWN))
    for (const [topic, type] of topics) expect(topicRole(topic, type), `${topic} ${type}`).toBe(role);
});

test("the configuration knows better what a topic is", () => {
  const assign = [{ match: ["/task/state"], role: "action" }];
  const plan = compileTopicPlan(finishConfig({ topics: { assign } }, "lode.yaml").topics);
  expect(plan("/task/state", "std_msgs/String")?.role).toBe("action");
  expect(plan("/cmd_vel", "geometry_msgs/Twist")?.role).toBe("action");
});

test("simulated time and topics of simulators are signs, those of robots are none", () => {
  expect(simulationSign("/clock", "rosgraph_msgs/msg/Clock")).toMatch(/\/clock/);
  expect(simulationSign("/gazebo/link_states", "gazebo_msgs/LinkStates")).toMatch(/gazebo/);
  expect(simulationSign("/carla/ego/speedometer", "std_msgs/Float32")).toMatch(/carla/);
  for (const topics of Object.values(KNOWN))
    for (const [topic, type] of topics) expect(simulationSign(topic, type), topic).toBeUndefined();
});

test("a person's word comes before signs, signs before a presumption, and a contradiction is said", () => {
  expect(judgePhysics("auto", [])).toMatchObject({ kind: "physical", basis: "presumed", isContradicted: false });
  expect(judgePhysics("auto", ["/clock"])).toMatchObject({ kind: "simulated", basis: "signs", signs: ["/clock"] });
  expect(judgePhysics("physical", [])).toMatchObject({ kind: "physical", basis: "configured", isContradicted: false });
  expect(judgePhysics("physical", ["/clock"])).toMatchObject({ kind: "physical", isContradicted: true });
  expect(judgePhysics("simulated", [])).toMatchObject({ kind: "simulated", isContradicted: false });
});
