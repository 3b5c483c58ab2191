/* What a system call costs: the time of one call in nanoseconds, the least and the median of 100 rounds. Runs natively and in a cVM. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 100
#define BLOCK 65536

static int null, ends[2];
static char block[BLOCK];

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1e9 + time.tv_nsec;
}

/* Each measures `count` calls and returns their nanoseconds. */
static double get_pid(int count) {
  double start = now();
  for (int i = 0; i < count; i++) syscall(SYS_getpid);
  return now() - start;
}
static double write_null(int count) {
  double start = now();
  for (int i = 0; i < count; i++) write(null, "x", 1);
  return now() - start;
}
static double read_null(int count) {
  double start = now();
  for (int i = 0; i < count; i++) read(null, block, 1);
  return now() - start;
}
static double pipe_byte(int count) {
  double start = now();
  for (int i = 0; i < count; i++) {
    write(ends[1], "x", 1);
    read(ends[0], block, 1);
  }
  return now() - start;
}
static double pipe_read(int count) {
  double total = 0;
  for (int i = 0; i < count; i++) {
    if (write(ends[1], block, BLOCK) != BLOCK) abort();
    double start = now();
    if (read(ends[0], block, BLOCK) != BLOCK) abort();
    total += now() - start;
  }
  return total;
}
static double pipe_write(int count) {
  double total = 0;
  for (int i = 0; i < count; i++) {
    double start = now();
    if (write(ends[1], block, BLOCK) != BLOCK) abort();
    total += now() - start;
    if (read(ends[0], block, BLOCK) != BLOCK) abort();
  }
  return total;
}
static double clock_call(int count) {
  struct timespec time;
  double start = now();
  for (int i = 0; i < count; i++) syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &time);
  return now() - start;
}
static double clock_library(int count) {
  struct timespec time;
  double start = now();
  for (int i = 0; i < count; i++) clock_gettime(CLOCK_MONOTONIC, &time);
  return now() - start;
}
static double day_library(int count) {
  struct timeval time;
  double start = now();
  for (int i = 0; i < count; i++) gettimeofday(&time, NULL);
  return now() - start;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static const struct {
  const char *name;
  double (*run)(int count);
  int count;
} tests[] = {
    {"getpid", get_pid, 1000},
    {"clock_gettime, a system call", clock_call, 1000},
    {"clock_gettime, the C library's", clock_library, 1000},
    {"gettimeofday, the C library's", day_library, 1000},
    {"write of 1 byte to /dev/null", write_null, 1000},
    {"read from /dev/null", read_null, 1000},
    {"write and read of 1 byte, pipe", pipe_byte, 1000},
    {"write of 64 KiB to a pipe", pipe_write, 50},
    {"read of 64 KiB from a pipe", pipe_read, 50},
};

int main(void) {
  null = open("/dev/null", O_RDWR);
  if (null < 0 || pipe(ends) != 0) return 1;
  for (size_t test = 0; test < sizeof tests / sizeof tests[0]; test++) {
    double rounds[ROUNDS];
    for (int round = 0; round < ROUNDS; round++) rounds[round] = tests[test].run(tests[test].count) / tests[test].count;
    qsort(rounds, ROUNDS, sizeof rounds[0], ascending);
    printf("%-32s %8.0f %8.0f\n", tests[test].name, rounds[0], rounds[ROUNDS / 2]);
  }
  return 0;
}
