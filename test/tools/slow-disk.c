/* A slow disk for benchmarks and tests: one file, served through FUSE with a write rate and a delay of each flush, to
 * lie under a loop device (test/support/slow-disk.ts). SIGUSR1: every write and flush hangs for three seconds, once.
 *
 * cc -O2 -o slow-disk slow-disk.c $(pkg-config --cflags --libs fuse3) -lpthread   (Debian: libfuse3-dev, fuse3)
 * slow-disk IMAGE MB_PER_S FLUSH_MS MOUNTPOINT -f: the file is MOUNTPOINT/disk; absolute paths. */
#define FUSE_USE_VERSION 31
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int image;
static double bytes_per_s, flush_s, free_at;
static volatile sig_atomic_t is_hang_due;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static double now_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static void sleep_until(double at) {
  struct timespec t = {(time_t)at, (long)((at - (time_t)at) * 1e9)};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, 0) == EINTR) {}
}

/* One disk: writes queue behind each other; 20 ms of idle time may be saved up. */
static void charge(double seconds) {
  pthread_mutex_lock(&lock);
  double earliest = now_s() - 0.02;
  if (free_at < earliest) free_at = earliest;
  if (is_hang_due) { is_hang_due = 0; free_at += 3; }
  free_at += seconds;
  double at = free_at;
  pthread_mutex_unlock(&lock);
  sleep_until(at);
}

static int on_getattr(const char *path, struct stat *st, struct fuse_file_info *fi) {
  (void)fi;
  memset(st, 0, sizeof *st);
  if (!strcmp(path, "/")) { st->st_mode = S_IFDIR | 0755; st->st_nlink = 2; return 0; }
  if (strcmp(path, "/disk")) return -ENOENT;
  return fstat(image, st) ? -errno : 0;
}
static int on_readdir(const char *path, void *buf, fuse_fill_dir_t fill, off_t off, struct fuse_file_info *fi, enum fuse_readdir_flags flags) {
  (void)path; (void)off; (void)fi; (void)flags;
  fill(buf, "disk", NULL, 0, 0);
  return 0;
}
static int on_open(const char *path, struct fuse_file_info *fi) { fi->keep_cache = 1; return strcmp(path, "/disk") ? -ENOENT : 0; }
static int on_read(const char *path, char *buf, size_t n, off_t off, struct fuse_file_info *fi) {
  (void)path; (void)fi;
  ssize_t r = pread(image, buf, n, off);
  return r < 0 ? -errno : (int)r;
}
static int on_write(const char *path, const char *buf, size_t n, off_t off, struct fuse_file_info *fi) {
  (void)path; (void)fi;
  charge(n / bytes_per_s);
  ssize_t r = pwrite(image, buf, n, off);
  return r < 0 ? -errno : (int)r;
}
static int on_fsync(const char *path, int datasync, struct fuse_file_info *fi) {
  (void)path; (void)datasync; (void)fi;
  charge(0);
  sleep_until(now_s() + flush_s);
  return fdatasync(image) ? -errno : 0;
}
static int on_fallocate(const char *path, int mode, off_t off, off_t len, struct fuse_file_info *fi) {
  (void)path; (void)fi;
  return fallocate(image, mode, off, len) ? -errno : 0;
}

static void on_usr1(int signal) { (void)signal; is_hang_due = 1; }

static const struct fuse_operations operations = {
  .getattr = on_getattr, .readdir = on_readdir, .open = on_open, .read = on_read,
  .write = on_write, .fsync = on_fsync, .fallocate = on_fallocate,
};

int main(int argc, char **argv) {
  if (argc < 5) return 2; /* slow-disk IMAGE MB_PER_S FLUSH_MS MOUNTPOINT [fuse options] */
  image = open(argv[1], O_RDWR);
  if (image < 0) return 1;
  bytes_per_s = atof(argv[2]) * 1e6;
  flush_s = atof(argv[3]) / 1e3;
  signal(SIGUSR1, on_usr1);
  argv[3] = argv[0];
  return fuse_main(argc - 3, argv + 3, &operations, NULL);
}
