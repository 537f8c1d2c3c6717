/**
 * The demo's world for MuJoCo: a table, an arm of four joints with a two-finger gripper, and a cup.
 *
 * Frames: the table top is z = 0, the arm's column stands at the origin. At zero all links point straight up;
 * pitch joints tilt them towards +x. The hand's z axis points out of the palm (down while it grasps), its
 * y axis is the way the fingers move. Lengths in metres, masses in kilograms, angles in radians.
 */
export const ARM_JOINTS = ["j0_yaw", "j1_shoulder", "j2_elbow", "j3_wrist"] as const;
export const FINGER_JOINTS = ["finger_l", "finger_r"] as const;

export const PHYSICS_HZ = 500;
export const SHOULDER_HEIGHT_M = 0.22;
export const UPPER_ARM_M = 0.25;
export const FOREARM_M = 0.22;
/** From the wrist joint to the point between the finger pads. */
export const HAND_M = 0.17;
/** From the wrist joint to the palm's face, where the distance sensor sits. */
export const PALM_M = 0.092;
/** Each finger's way from the middle; the gap between the pads is twice this. */
const FINGER_TRAVEL_M = 0.045;
export const OPEN_GAP_M = 2 * FINGER_TRAVEL_M;

export const CUP_RADIUS_M = 0.03;
export const CUP_HEIGHT_M = 0.096;
/** Where the robot means to hold a cup, above its foot. */
export const GRIP_HEIGHT_M = 0.06;
/** A cup's weight sits low: its thick foot. */
const CUP_CENTRE_OF_MASS_M = -0.012;

/**
 * Contact bits: 1 is the table and everything that may lie on it, 2 is what the pads can touch: the cup alone,
 * so that a pad's touch sensor sums the cup's normal forces and nothing else.
 * Elliptic cones and the no-slip pass keep a cup that friction can hold from creeping (MuJoCo, "Contact").
 */
export const WORLD_XML = `
<mujoco model="lode demo arm">
  <compiler angle="radian" autolimits="true"/>
  <option timestep="${1 / PHYSICS_HZ}" integrator="implicitfast" cone="elliptic" impratio="10" noslip_iterations="3"/>
  <default>
    <geom contype="0" conaffinity="0" solref="0.006 1"/>
    <joint armature="0.02" damping="0.4"/>
    <default class="finger">
      <joint type="slide" range="0 ${FINGER_TRAVEL_M}" armature="0.15" damping="6" frictionloss="0.15"/>
    </default>
    <default class="pad">
      <geom type="box" size="0.011 0.005 0.016" contype="2" conaffinity="2" condim="4" priority="2" mass="0.02"/>
    </default>
  </default>
  <worldbody>
    <geom name="table" type="plane" size="1 1 0.1" contype="1" conaffinity="1" friction="0.6 0.005 0.0002"/>
    <body name="turret" pos="0 0 ${SHOULDER_HEIGHT_M}">
      <joint name="j0_yaw" axis="0 0 1" range="-2.6 2.6"/>
      <inertial pos="0 0 -0.03" mass="1.5" diaginertia="0.004 0.004 0.004"/>
      <body name="upper_arm">
        <joint name="j1_shoulder" axis="0 1 0" range="-1.6 2.2"/>
        <inertial pos="0 0 ${UPPER_ARM_M * 0.45}" mass="0.9" diaginertia="0.006 0.006 0.001"/>
        <body name="forearm" pos="0 0 ${UPPER_ARM_M}">
          <joint name="j2_elbow" axis="0 1 0" range="-0.2 2.8"/>
          <inertial pos="0 0 ${FOREARM_M * 0.45}" mass="0.6" diaginertia="0.003 0.003 0.0006"/>
          <body name="wrist" pos="0 0 ${FOREARM_M}">
            <joint name="j3_wrist" axis="0 1 0" range="-1 2.8" armature="0.01" damping="0.2"/>
            <inertial pos="0 0 0.01" mass="0.15" diaginertia="0.0002 0.0002 0.0002"/>
            <body name="hand" pos="0 0 0.03">
              <inertial pos="0 0 0.04" mass="0.3" diaginertia="0.0004 0.0004 0.0003"/>
              <site name="ft"/>
              <site name="imu"/>
              <site name="palm" pos="0 0 ${PALM_M - 0.03}"/>
              <body name="finger_l" pos="0 0 ${HAND_M - 0.03}">
                <joint name="finger_l" axis="0 1 0" class="finger"/>
                <geom name="pad_l" class="pad" pos="0 0.005 0"/>
                <site name="pad_l" type="box" size="0.013 0.008 0.018" pos="0 0.005 0"/>
              </body>
              <body name="finger_r" pos="0 0 ${HAND_M - 0.03}">
                <joint name="finger_r" axis="0 -1 0" class="finger"/>
                <geom name="pad_r" class="pad" pos="0 -0.005 0"/>
                <site name="pad_r" type="box" size="0.013 0.008 0.018" pos="0 -0.005 0"/>
              </body>
            </body>
          </body>
        </body>
      </body>
    </body>
    <body name="cup" pos="0.3 0 ${CUP_HEIGHT_M / 2}">
      <freejoint name="cup"/>
      <inertial pos="0 0 ${CUP_CENTRE_OF_MASS_M}" mass="0.3" diaginertia="0.0003 0.0003 0.00015"/>
      <geom name="cup" type="cylinder" size="${CUP_RADIUS_M} ${CUP_HEIGHT_M / 2}" contype="3" conaffinity="3"
        friction="0.6 0.005 0.0002"/>
    </body>
  </worldbody>
  <equality><joint joint1="finger_l" joint2="finger_r" polycoef="0 1 0 0 0" solref="0.004 1"/></equality>
  <actuator>
    ${[...ARM_JOINTS, ...FINGER_JOINTS].map((joint) => `<motor joint="${joint}"/>`).join("\n    ")}
  </actuator>
  <sensor>
    <accelerometer site="imu" name="acceleration"/>
    <gyro site="imu" name="rate"/>
    <framequat objtype="site" objname="imu" name="orientation"/>
    <force site="ft" name="force"/>
    <torque site="ft" name="torque"/>
    <rangefinder site="palm" name="range" cutoff="1"/>
    <touch site="pad_l" name="touch_l"/>
    <touch site="pad_r" name="touch_r"/>
  </sensor>
</mujoco>`;

/** Where each sensor's numbers begin in MuJoCo's sensor vector: the order of the sensors above. */
export const SENSOR_AT = {
  acceleration: 0,
  rate: 3,
  orientation: 6,
  force: 10,
  torque: 13,
  range: 16,
  touchLeft: 17,
  touchRight: 18,
} as const;
