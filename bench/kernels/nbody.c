/* Bodies that attract each other, in double precision: square roots, quotients, products. The accrued exception flags count in the checksum. */
#include "flags.h"
#include "kernel.h"
#include <math.h>

enum { BODIES = 6, STEPS = 1000 };

struct body {
  double place[3], speed[3], mass;
};
static struct body initial[BODIES], bodies[BODIES];

static void setup(void) {
  uint64_t state = 1687;
  for (int body = 0; body < BODIES; body++) {
    for (int axis = 0; axis < 3; axis++) {
      initial[body].place[axis] = (double)next_random(&state) / 4294967296.0 * 20 - 10;
      initial[body].speed[axis] = (double)next_random(&state) / 4294967296.0 - 0.5;
    }
    initial[body].mass = 0.25 + (double)next_random(&state) / 4294967296.0;
  }
}

/* Kick, then drift; a little softening keeps close bodies apart. */
OPAQUE static void advance(struct body *all, double step) {
  for (int one = 0; one < BODIES; one++) {
    struct body *a = &all[one];
    for (int two = one + 1; two < BODIES; two++) {
      struct body *b = &all[two];
      double x = a->place[0] - b->place[0], y = a->place[1] - b->place[1], z = a->place[2] - b->place[2];
      double square = x * x + y * y + z * z + 0.01;
      double pull = step / (square * __builtin_sqrt(square));
      double pull_a = pull * b->mass, pull_b = pull * a->mass;
      a->speed[0] -= x * pull_a;
      a->speed[1] -= y * pull_a;
      a->speed[2] -= z * pull_a;
      b->speed[0] += x * pull_b;
      b->speed[1] += y * pull_b;
      b->speed[2] += z * pull_b;
    }
  }
  for (int one = 0; one < BODIES; one++) {
    for (int axis = 0; axis < 3; axis++) all[one].place[axis] += step * all[one].speed[axis];
  }
}

OPAQUE static uint64_t run(void) {
  uint64_t sum = 0;
  memcpy(bodies, initial, sizeof bodies);
  clear_flags();
  for (int step = 0; step < STEPS; step++) advance(bodies, 0.001);
  sum = fold(sum, accrued_flags());
  for (int body = 0; body < BODIES; body++) {
    for (int axis = 0; axis < 3; axis++) sum = fold_double(fold_double(sum, bodies[body].place[axis]), bodies[body].speed[axis]);
  }
  return sum;
}

KERNEL("steps/s", STEPS)
