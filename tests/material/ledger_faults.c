/* Makes one system call on one file fail. Preloaded into the process that writes a ledger; armed from Python.

   fault_arm(part, kind, countdown): the countdown-th call of that kind on a file whose path contains `part` fails, and
   from then on all of them do, as on a disk that is broken or full. Kinds: "sync" (EIO), "write" (EIO), "full"
   (ENOSPC), "short" (half of what was given is written, once; every later call succeeds). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char part[256], kind[16];
static long left;
static int is_armed;

void fault_arm(const char *which, const char *how, long countdown) {
  strncpy(part, which, sizeof part - 1);
  strncpy(kind, how, sizeof kind - 1);
  left = countdown;
  is_armed = 1;
}

static int hits(int fd, int is_sync) {
  char link[64], path[1024];
  ssize_t length;
  if (!is_armed || is_sync != (strcmp(kind, "sync") == 0)) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  if (!strstr(path, part)) return 0;
  if (left > 1) {
    left--;
    return 0;
  }
  return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define SYNC(name)            \
  int name(int fd) {          \
    if (hits(fd, 1)) {        \
      errno = EIO;            \
      return -1;              \
    }                         \
    return REAL(name)(fd);    \
  }
SYNC(fsync)
SYNC(fdatasync)

static int broken(int fd, size_t *count) {
  if (!hits(fd, 0)) return 0;
  if (strcmp(kind, "short") == 0) {
    *count /= 2;
    is_armed = 0;
    return 0;
  }
  errno = strcmp(kind, "full") == 0 ? ENOSPC : EIO;
  return 1;
}

ssize_t write(int fd, const void *data, size_t count) {
  return broken(fd, &count) ? -1 : REAL(write)(fd, data, count);
}
ssize_t pwrite(int fd, const void *data, size_t count, off_t at) {
  return broken(fd, &count) ? -1 : REAL(pwrite)(fd, data, count, at);
}
ssize_t pwrite64(int fd, const void *data, size_t count, off64_t at) {
  return broken(fd, &count) ? -1 : REAL(pwrite64)(fd, data, count, at);
}
