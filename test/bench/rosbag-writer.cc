// A peer that only writes: rosbag (Debian's librosbag-dev) with lz4, an fsync at the end; messages lie in memory.
// Usage: rosbag-writer DUMP FILE GIGABYTES ; the dump is dump-mix.ts's. Prints {"seconds","cpuSeconds","bytes","messages"}.
#include <fcntl.h>
#include <rosbag/bag.h>
#include <sys/resource.h>
#include <topic_tools/shape_shifter.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>

struct Message {
  uint32_t topic, size;
  uint8_t* bytes;
};

static double cpuSeconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](const timeval& time) { return time.tv_sec + time.tv_usec / 1e6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

int main(int, char** args) {
  std::ifstream input(args[1], std::ios::binary);
  std::vector<uint8_t> dump((std::istreambuf_iterator<char>(input)), std::istreambuf_iterator<char>());
  size_t at = 0;
  auto u32 = [&] {
    uint32_t value;
    memcpy(&value, &dump[at], 4);
    at += 4;
    return value;
  };
  auto text = [&] {
    const uint32_t size = u32();
    std::string value(reinterpret_cast<char*>(&dump[at]), size);
    at += size;
    return value;
  };
  std::vector<std::string> topics;
  std::vector<topic_tools::ShapeShifter> shapes(u32());
  for (auto& shape : shapes) {
    topics.push_back(text());
    const std::string type = text(), definition = text();
    shape.morph("0123456789abcdef0123456789abcdef", type, definition, "0");
  }
  std::vector<Message> messages;
  while (at < dump.size()) {
    const uint32_t topic = u32(), size = u32();
    messages.push_back({topic, size, &dump[at]});
    at += size;
  }
  const double wanted = atof(args[3]) * 1e9;
  const auto start = std::chrono::steady_clock::now();
  const double cpuAtStart = cpuSeconds();
  double bytes = 0;
  long count = 0;
  rosbag::Bag bag(args[2], rosbag::bagmode::Write);
  bag.setCompression(rosbag::compression::LZ4);
  for (size_t index = 0; bytes < wanted; index = (index + 1) % messages.size()) {
    const Message& message = messages[index];
    ros::serialization::IStream stream(message.bytes, message.size);
    shapes[message.topic].read(stream);
    ros::Time time;
    time.fromNSec(1000000000ull + 1000ull * ++count);
    bag.write(topics[message.topic], time, shapes[message.topic]);
    bytes += message.size;
  }
  bag.close();
  const int fd = open(args[2], O_RDWR);
  fsync(fd);
  close(fd);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  printf("{\"seconds\": %f, \"cpuSeconds\": %f, \"bytes\": %.0f, \"messages\": %ld}\n", elapsed.count(),
         cpuSeconds() - cpuAtStart, bytes, count);
}
