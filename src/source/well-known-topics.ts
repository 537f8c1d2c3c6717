/** What the names and types of well-known topics say about how they are sent. */

/** Last name part → sent once and kept for late subscribers (latched, transient local), by ROS convention. */
const LATCHED_NAMES = new Set(["tf_static", "robot_description", "robot_description_semantic", "map", "map_metadata"]);
const LATCHED_NAME_SUFFIXES = ["camera_info", "_map"];
const CAMERA_INFO = /^sensor_msgs\/(msg\/)?CameraInfo$/;

/** Types whose messages can be larger than what a bridge lets through. */
const BULKY = /(Image|PointCloud2?|OccupancyGrid|Mesh|MarkerArray|Octomap|Points?Stamped)$/;

export function isLatchedTopic(topic: string, schemaName: string): boolean {
  const name = topic.slice(topic.lastIndexOf("/") + 1);
  if (LATCHED_NAMES.has(name) || CAMERA_INFO.test(schemaName)) return true;
  return LATCHED_NAME_SUFFIXES.some((suffix) => name.endsWith(suffix));
}

export function isBulkyType(schemaName: string): boolean {
  return BULKY.test(schemaName);
}
