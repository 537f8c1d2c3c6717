// System calls that Node does not have: preallocation, datagrams to systemd, the state of the clock. No policy; arguments are checked on
// entry, and the answer is 0 or an errno. Loaded in several threads and never unloaded (-z nodelete).
#include <errno.h>
#include <fcntl.h>
#include <napi.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timex.h>
#include <sys/un.h>
#include <unistd.h>

#include <string>

namespace {

Napi::Value Status(const Napi::CallbackInfo& info, int status) { return Napi::Number::New(info.Env(), status); }

// fallocate(fd, offset, length)
Napi::Value Fallocate(const Napi::CallbackInfo& info) {
  if (info.Length() != 3 || !info[0].IsNumber() || !info[1].IsNumber() || !info[2].IsNumber())
    return Status(info, EINVAL);
  const int fd = info[0].As<Napi::Number>().Int32Value();
  const int64_t offset = info[1].As<Napi::Number>().Int64Value();
  const int64_t length = info[2].As<Napi::Number>().Int64Value();
  int result;
  do {
    result = fallocate(fd, 0, offset, length);
  } while (result != 0 && errno == EINTR);
  return Status(info, result == 0 ? 0 : errno);
}

// notify(socketPath, message): one datagram; a path that begins with @ is an abstract address (sd_notify(3)).
Napi::Value Notify(const Napi::CallbackInfo& info) {
  if (info.Length() != 2 || !info[0].IsString() || !info[1].IsString()) return Status(info, EINVAL);
  const std::string path = info[0].As<Napi::String>();
  const std::string message = info[1].As<Napi::String>();
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) return Status(info, EINVAL);
  memcpy(address.sun_path, path.data(), path.size());
  if (path[0] == '@') address.sun_path[0] = '\0';
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return Status(info, errno);
  const auto sent = sendto(fd, message.data(), message.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
                           reinterpret_cast<const sockaddr*>(&address), length);
  const int status = sent < 0 ? errno : 0;
  close(fd);
  return Status(info, status);
}

// clockUnsynchronised(): 0 while the kernel's clock is kept by somebody (NTP, PTP), ETIME while it is not.
Napi::Value ClockUnsynchronised(const Napi::CallbackInfo& info) {
  timex state = {};
  const int result = adjtimex(&state);
  if (result < 0) return Status(info, errno);
  return Status(info, result == TIME_ERROR || (state.status & STA_UNSYNC) != 0 ? ETIME : 0);
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  exports.Set("fallocate", Napi::Function::New(env, Fallocate));
  exports.Set("notify", Napi::Function::New(env, Notify));
  exports.Set("clockUnsynchronised", Napi::Function::New(env, ClockUnsynchronised));
  return exports;
}

}  // namespace

NODE_API_MODULE(lode, Init)
