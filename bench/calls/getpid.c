/* The cheapest system call. */
#include "../kernels/kernel.h"
#include <sys/syscall.h>
#include <unistd.h>

enum { CALLS = 2000 };

static void setup(void) {}

OPAQUE static uint64_t run(void) {
  long first = syscall(SYS_getpid);
  for (int count = 1; count < CALLS; count++) {
    if (syscall(SYS_getpid) != first) return 1;
  }
  return 0;
}

KERNEL("calls/s", CALLS)
