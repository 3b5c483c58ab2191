/* 64 KiB are written to a pipe and read from it. */
#include "../kernels/kernel.h"
#include <unistd.h>

enum { SIZE = 65536, PAIRS = 50 };

static int ends[2];
static uint8_t out[SIZE], in[SIZE];

static void setup(void) {
  uint64_t state = 17;
  if (pipe(ends) != 0) {
    perror("pipe");
    exit(1);
  }
  for (int at = 0; at < SIZE; at++) out[at] = (uint8_t)next_random(&state);
}

OPAQUE static uint64_t run(void) {
  uint64_t sum = 0;
  for (int count = 0; count < PAIRS; count++) {
    if (write(ends[1], out, SIZE) != SIZE) return 1;
    for (ssize_t done = 0; done < SIZE;) {
      ssize_t got = read(ends[0], in + done, (size_t)(SIZE - done));
      if (got <= 0) return 2;
      done += got;
    }
    sum = fold(sum, in[(count * 997) % SIZE]);
  }
  return sum;
}

KERNEL("pairs/s", PAIRS)
