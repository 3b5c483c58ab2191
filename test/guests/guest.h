/*
 * What every guest program shares: checks that print one line each and judge themselves.
 * The same source runs natively on Linux (the judge of the judge) and inside a cVM.
 */
#ifndef GUEST_H
#define GUEST_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int guest_failures;

/* An address that no program has mapped. */
#define BAD_POINTER ((void *)0x10)
/* A descriptor number that is never open. */
#define BAD_FD 987

/* Compilers warn of arguments that are wrong on purpose. */
#pragma GCC diagnostic ignored "-Wnonnull"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-result"
#pragma GCC diagnostic ignored "-Wstringop-overflow"
#pragma GCC diagnostic ignored "-Wstringop-overread"

static void guest_ok(const char *name) {
  printf("%s: ok\n", name);
}

/* got must equal want. */
static void equal(const char *name, long long got, long long want) {
  if (got == want) {
    guest_ok(name);
    return;
  }
  guest_failures++;
  printf("%s: FAIL (expected %lld, got %lld)\n", name, want, got);
}

/* As equal; errno says more when it is not so. */
static void result(const char *name, long long got, long long want) {
  int error = errno;
  if (got == want) {
    guest_ok(name);
    return;
  }
  guest_failures++;
  printf("%s: FAIL (expected %lld, got %lld, errno %d %s)\n", name, want, got, error, strerror(error));
}

/* The call must have failed with this errno. */
static void fails(const char *name, long long got, int want) {
  int error = errno;
  if (got == -1 && error == want) {
    guest_ok(name);
    return;
  }
  guest_failures++;
  if (got == -1) printf("%s: FAIL (expected errno %d %s, got errno %d %s)\n", name, want, strerror(want), error, strerror(error));
  else printf("%s: FAIL (expected errno %d %s, got result %lld)\n", name, want, strerror(want), got);
}

/* The call must have succeeded (>= 0). Returns its result. */
static long long works(const char *name, long long got) {
  int error = errno;
  if (got >= 0) {
    guest_ok(name);
    return got;
  }
  guest_failures++;
  printf("%s: FAIL (expected success, got errno %d %s)\n", name, error, strerror(error));
  return got;
}

static void truth(const char *name, int holds) {
  if (holds) {
    guest_ok(name);
    return;
  }
  guest_failures++;
  printf("%s: FAIL (expected true, got false)\n", name);
}

static void same_text(const char *name, const char *got, const char *want) {
  if (got != NULL && strcmp(got, want) == 0) {
    guest_ok(name);
    return;
  }
  guest_failures++;
  printf("%s: FAIL (expected \"%s\", got \"%s\")\n", name, want, got == NULL ? "(null)" : got);
}

/* low <= got <= high */
static void between(const char *name, double got, double low, double high) {
  if (got >= low && got <= high) {
    guest_ok(name);
    return;
  }
  guest_failures++;
  printf("%s: FAIL (expected %g to %g, got %g)\n", name, low, high, got);
}

static double now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

static void sleep_ms(long ms) {
  struct timespec left = {ms / 1000, ms % 1000 * 1000000};
  while (nanosleep(&left, &left) == -1 && errno == EINTR) {
  }
}

/* Makes an empty folder of this program's own and goes there. */
static void enter_scratch(void) {
  static char folder[] = "/tmp/guest-XXXXXX";
  if (mkdtemp(folder) == NULL || chdir(folder) != 0) {
    printf("scratch: FAIL (%s)\n", strerror(errno));
    exit(1);
  }
}

/* Leaves and removes the scratch folder, which must be empty by now. */
static void leave_scratch(void) {
  char folder[256];
  if (getcwd(folder, sizeof folder) == NULL) folder[0] = 0;
  chdir("/");
  result("the scratch folder is empty at the end", rmdir(folder), 0);
}

static void write_file(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) {
    guest_failures++;
    printf("writing %s: FAIL (%s)\n", path, strerror(errno));
  }
  if (fd >= 0) close(fd);
}

static const char *read_file(const char *path) {
  static char text[4096];
  int fd = open(path, O_RDONLY);
  if (fd < 0) return "(cannot open)";
  ssize_t length = read(fd, text, sizeof text - 1);
  close(fd);
  text[length < 0 ? 0 : length] = 0;
  return text;
}

static void guest_begin(void) {
  setvbuf(stdout, NULL, _IOLBF, 0);
}

static int guest_end(void) {
  printf("%s\n", guest_failures == 0 ? "all ok" : "failures");
  fflush(stdout);
  return guest_failures == 0 ? 0 : 1;
}
#endif
