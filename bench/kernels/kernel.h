/*
 * What every kernel has in common. A kernel defines
 *   static void setup(void);      fills its data, once
 *   static uint64_t run(void);    a fixed piece of work, the same each time; returns a checksum of its results
 * and ends with KERNEL(unit, work per run). The program's arguments are the seconds to measure (1) and to warm up before (0.5);
 * with a warm-up of 0 the first run counts too. It prints "begin" when it starts to measure, then one line:
 *   result work=<work per second> unit=<unit> runs=<measured> seconds=<elapsed> cpu=<of the process> checksum=<16 digits>
 * and exits 1 when two runs differ in their checksums.
 */
#ifndef KERNEL_H
#define KERNEL_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double seconds_of(clockid_t clock) {
  struct timespec now;
  if (clock_gettime(clock, &now) != 0) return 0;
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* A step of a checksum: order and every bit count. */
static inline uint64_t fold(uint64_t sum, uint64_t value) { return ((sum ^ value) * UINT64_C(0x9E3779B97F4A7C15)) ^ (sum >> 29); }

static inline uint64_t fold_double(uint64_t sum, double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return fold(sum, bits);
}

/* Numbers that look random, the same everywhere (a 64-bit linear congruential generator, its upper half). */
static inline uint32_t next_random(uint64_t *state) {
  *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return (uint32_t)(*state >> 32);
}

static int kernel_main(int argc, char **argv, const char *unit, double work, void (*setup)(void), uint64_t (*run)(void)) {
  double length = argc > 1 ? atof(argv[1]) : 1;
  double warm_up = argc > 2 ? atof(argv[2]) : 0.5;
  uint64_t runs = 0, first = 0, checksum;
  int known = 0;
  double start, cpu, now;
  setup();
  if (warm_up > 0) {
    start = seconds_of(CLOCK_MONOTONIC);
    do {
      checksum = run();
      if (known && checksum != first) goto differs;
      first = checksum;
      known = 1;
    } while (seconds_of(CLOCK_MONOTONIC) - start < warm_up);
  }
  puts("begin");
  fflush(stdout);
  cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
  start = seconds_of(CLOCK_MONOTONIC);
  do {
    checksum = run();
    if (known && checksum != first) goto differs;
    first = checksum;
    known = 1;
    runs++;
    now = seconds_of(CLOCK_MONOTONIC);
  } while (now - start < length);
  cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu;
  printf("result work=%.9g unit=%s runs=%" PRIu64 " seconds=%.6f cpu=%.6f checksum=%016" PRIx64 "\n", work * (double)runs / (now - start), unit,
         runs, now - start, cpu, first);
  return 0;
differs:
  fprintf(stderr, "two runs differ: checksum %016" PRIx64 ", then %016" PRIx64 "\n", first, checksum);
  return 1;
}

#define KERNEL(unit, work) \
  int main(int argc, char **argv) { return kernel_main(argc, argv, unit, work, setup, run); }

/* Keeps the compiler from knowing what a function does, so that each call is made. */
#define OPAQUE __attribute__((noipa))

#endif
