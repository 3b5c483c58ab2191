/* The time of day by the C library: no system call where there is a vDSO. */
#include "../kernels/kernel.h"

enum { CALLS = 2000 };

static void setup(void) {}

OPAQUE static uint64_t run(void) {
  struct timespec before, now;
  uint64_t backwards = 0;
  clock_gettime(CLOCK_MONOTONIC, &before);
  for (int count = 1; count < CALLS; count++) {
    clock_gettime(CLOCK_MONOTONIC, &now);
    backwards += now.tv_sec < before.tv_sec || (now.tv_sec == before.tv_sec && now.tv_nsec < before.tv_nsec);
    before = now;
  }
  return backwards;
}

KERNEL("calls/s", CALLS)
