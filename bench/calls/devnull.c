/* A byte is written to /dev/null. */
#include "../kernels/kernel.h"
#include <fcntl.h>
#include <unistd.h>

enum { CALLS = 2000 };

static int file;

static void setup(void) {
  file = open("/dev/null", O_WRONLY);
  if (file < 0) {
    perror("/dev/null");
    exit(1);
  }
}

OPAQUE static uint64_t run(void) {
  uint64_t written = 0;
  for (int count = 0; count < CALLS; count++) written += (uint64_t)write(file, "x", 1);
  return written;
}

KERNEL("calls/s", CALLS)
