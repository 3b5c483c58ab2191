/* Integer arithmetic of 64 and 32 bits: shifts, products, quotients, branches that depend on the data. No memory. */
#include "kernel.h"

enum { STEPS = 100000 };

static void setup(void) {}

OPAQUE static uint64_t run(void) {
  uint64_t a = UINT64_C(0x853C49E6748FEA9B), sum = 0;
  uint32_t w = 12345;
  int32_t level = 0;
  for (int step = 0; step < STEPS; step++) {
    a ^= a << 13;
    a ^= a >> 7;
    a ^= a << 17;
    w = w * 69069u + 1u;
    uint32_t narrow = (uint32_t)a + w;
    narrow = (narrow << 5) | (narrow >> 27);
    if (narrow & 0x100) level += (int32_t)(narrow >> 20);
    else level -= (int32_t)(w >> 21);
    if (level < -1000000) level = -level;
    sum += (uint64_t)narrow * (a >> 40);
    if ((step & 15) == 0) sum ^= a / ((uint64_t)w | 1) + narrow % 1000u;
    sum += (uint64_t)(int64_t)level;
  }
  return fold(sum, a ^ w);
}

KERNEL("steps/s", STEPS)
