/* Floating point: rounding modes, flags, special values, conversions, printf and strtod, libm. Deterministic to the bit. */
#include "guest.h"
#include <fenv.h>
#include <float.h>
#include <math.h>

static uint64_t bits(double x) {
  uint64_t b;
  memcpy(&b, &x, 8);
  return b;
}
static uint32_t bits32(float x) {
  uint32_t b;
  memcpy(&b, &x, 4);
  return b;
}
static void exact(const char *name, double got, uint64_t want) {
  equal(name, (long long)bits(got), (long long)want);
}
/* Formats and compares. */
#define prints(name, want, ...)                       \
  do {                                                \
    char line_[256];                                  \
    snprintf(line_, sizeof line_, __VA_ARGS__);       \
    same_text(name, line_, want);                     \
  } while (0)

int main(void) {
  guest_begin();
  volatile double one = 1, three = 3, ten = 10, zero = 0, huge = DBL_MAX, tiny = DBL_MIN, minus = -1;
  volatile float onef = 1, threef = 3;

  int modes[] = {FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO};
  uint64_t thirds[] = {0x3fd5555555555555, 0x3fd5555555555555, 0x3fd5555555555556, 0x3fd5555555555555};
  uint64_t negative[] = {0xbfd5555555555555, 0xbfd5555555555556, 0xbfd5555555555555, 0xbfd5555555555555};
  uint32_t thirdsf[] = {0x3eaaaaab, 0x3eaaaaaa, 0x3eaaaaab, 0x3eaaaaaa};
  uint64_t roots[] = {0x3ff6a09e667f3bcd, 0x3ff6a09e667f3bcc, 0x3ff6a09e667f3bcd, 0x3ff6a09e667f3bcc};
  long rints[] = {2, 2, 3, 2}, rints_negative[] = {-2, -3, -2, -2};
  volatile double two = 2, half = 2.5, halfn = -2.5;
  for (int i = 0; i < 4; i++) {
    char name[64];
    fesetround(modes[i]);
    volatile double third = one / three, third_negative = minus / three, root = sqrt(two), lost = ten * ten + 1e-20;
    volatile float thirdf = onef / threef;
    long rounded = lrint(half), rounded_negative = lrint(halfn);
    double nearby = nearbyint(half);
    int mode = fegetround();
    fesetround(FE_TONEAREST);
    snprintf(name, sizeof name, "mode %d: fegetround", i);
    equal(name, mode, modes[i]);
    snprintf(name, sizeof name, "mode %d: 1/3", i);
    exact(name, third, thirds[i]);
    snprintf(name, sizeof name, "mode %d: -1/3", i);
    exact(name, third_negative, negative[i]);
    snprintf(name, sizeof name, "mode %d: 1/3 in single", i);
    equal(name, bits32(thirdf), thirdsf[i]);
    snprintf(name, sizeof name, "mode %d: sqrt 2", i);
    exact(name, root, roots[i]);
    snprintf(name, sizeof name, "mode %d: 100 + tiny", i);
    exact(name, lost, modes[i] == FE_UPWARD ? 0x4059000000000001 : 0x4059000000000000);
    snprintf(name, sizeof name, "mode %d: lrint 2.5", i);
    equal(name, rounded, rints[i]);
    snprintf(name, sizeof name, "mode %d: lrint -2.5", i);
    equal(name, rounded_negative, rints_negative[i]);
    snprintf(name, sizeof name, "mode %d: nearbyint 2.5", i);
    equal(name, (long)nearby, rints[i]);
  }

  volatile double r;
  feclearexcept(FE_ALL_EXCEPT);
  equal("no flags", fetestexcept(FE_ALL_EXCEPT), 0);
  r = one + two;
  equal("an exact sum", fetestexcept(FE_ALL_EXCEPT), 0);
  r = one / three;
  equal("inexact", fetestexcept(FE_ALL_EXCEPT), FE_INEXACT);
  feclearexcept(FE_ALL_EXCEPT);
  r = one / zero;
  equal("division by zero", fetestexcept(FE_ALL_EXCEPT), FE_DIVBYZERO);
  truth("is infinity", isinf(r) && r > 0);
  feclearexcept(FE_ALL_EXCEPT);
  r = zero / zero;
  equal("invalid", fetestexcept(FE_ALL_EXCEPT), FE_INVALID);
  truth("is not a number", isnan(r));
  feclearexcept(FE_ALL_EXCEPT);
  r = huge * ten;
  equal("overflow", fetestexcept(FE_ALL_EXCEPT), FE_OVERFLOW | FE_INEXACT);
  truth("is infinity too", isinf(r));
  feclearexcept(FE_ALL_EXCEPT);
  r = tiny / three;
  equal("underflow", fetestexcept(FE_ALL_EXCEPT), FE_UNDERFLOW | FE_INEXACT);
  exact("a subnormal number", r, 0x0005555555555555);
  feclearexcept(FE_ALL_EXCEPT);
  r = tiny / two;
  equal("an exact subnormal number", fetestexcept(FE_ALL_EXCEPT), 0);
  feclearexcept(FE_ALL_EXCEPT);
  r = sqrt(minus);
  equal("sqrt of -1", fetestexcept(FE_INVALID), FE_INVALID);
  feclearexcept(FE_ALL_EXCEPT);
  volatile double nan_value = NAN;
  volatile int compared = nan_value < one;
  equal("an ordered comparison with NaN", fetestexcept(FE_ALL_EXCEPT), FE_INVALID);
  feclearexcept(FE_ALL_EXCEPT);
  compared = nan_value == one;
  equal("an equality with NaN", fetestexcept(FE_ALL_EXCEPT), 0);
  equal("is false", compared, 0);
  feraiseexcept(FE_DIVBYZERO | FE_INVALID);
  equal("feraiseexcept", fetestexcept(FE_ALL_EXCEPT), FE_DIVBYZERO | FE_INVALID);
  fenv_t environment;
  feholdexcept(&environment);
  equal("feholdexcept clears", fetestexcept(FE_ALL_EXCEPT), 0);
  fesetround(FE_UPWARD);
  fesetenv(&environment);
  truth("fesetenv restores flags and mode", fetestexcept(FE_ALL_EXCEPT) == (FE_DIVBYZERO | FE_INVALID) && fegetround() == FE_TONEAREST);
  feclearexcept(FE_ALL_EXCEPT);
  volatile double fraction = 3.75, wide = 1e18;
  equal("to int truncates", (int)fraction, 3);
  equal("inexactly", fetestexcept(FE_INEXACT), FE_INEXACT);
  equal("to long", (long)wide, 1000000000000000000);
  equal("from unsigned long", (long long)bits((double)(volatile unsigned long){0xffffffffffffffff}), 0x43f0000000000000);
  equal("from long, rounded", (long long)bits((double)(volatile long){9007199254740993}), 0x4340000000000000);
  volatile double single = 0.1;
  equal("to single", bits32((float)single), 0x3dcccccd);
  exact("from single", (double)(volatile float){0.1f}, 0x3fb99999a0000000);
  exact("fma rounds once", fma(0x1.0000000000001p0, 0x1.0000000000001p0, -0x1.0000000000002p0), bits(0x1p-104));
  exact("fmin of NaN", fmin(NAN, one), bits(1.0));
  truth("the sign of zero", signbit(copysign(0.0, minus)) && signbit(-zero * 1) && !signbit(zero));
  truth("classes", fpclassify(tiny / 4) == FP_SUBNORMAL && fpclassify(zero) == FP_ZERO && fpclassify(one) == FP_NORMAL);

  prints("%g of 0.1", "0.1", "%g", 0.1);
  prints("%.17g of 0.1", "0.10000000000000001", "%.17g", 0.1);
  prints("%.20f of 1/3", "0.33333333333333331483", "%.20f", one / three);
  prints("%e", "1.797693e+308", "%e", huge);
  prints("%.0f of halves", "0 2 2 4", "%.0f %.0f %.0f %.0f", 0.5, 1.5, 2.5, 3.5);
  prints("%a", "0x1.999999999999ap-4", "%a", 0.1);
  prints("special values", "inf -inf nan -0", "%f %f %f %g", INFINITY, -INFINITY, fabs(NAN), -0.0);
  prints("a subnormal number in full", "4.9406564584124654e-324", "%.17g", 0x1p-1074);
  prints("a large integer", "123456789012345683968", "%.0f", 123456789012345678901.0);
  prints("width and sign", "|   +3.14|3.14    |00003.14|", "|%+8.2f|%-8.2f|%08.2f|", 3.14159, 3.14159, 3.14159);
  exact("strtod 0.1", strtod("0.1", NULL), 0x3fb999999999999a);
  exact("strtod of a hard case", strtod("2.2250738585072011e-308", NULL), 0x000fffffffffffff);
  exact("strtod of halfway", strtod("9007199254740993", NULL), 0x4340000000000000);
  exact("strtod just above halfway", strtod("9007199254740993.00000000000000000000001", NULL), 0x4340000000000001);
  exact("strtod of the smallest", strtod("4.9e-324", NULL), 1);
  exact("strtod of a hexadecimal number", strtod("0x1.8p3", NULL), bits(12.0));
  errno = 0;
  truth("strtod overflows", isinf(strtod("1e400", NULL)) && errno == ERANGE);
  truth("strtod of words", isinf(strtod("infinity", NULL)) && isnan(strtod("nan", NULL)));
  char *end;
  strtod("12.5abc", &end);
  same_text("strtod stops", end, "abc");
  prints("%.15g of functions", "0.841470984807897 0.54030230586814 2.71828182845905 2.30258509299405", "%.15g %.15g %.15g %.15g", sin(one), cos(one), exp(one), log(ten));
  prints("pow and others", "1024 1.4142135623731 0.785398163397448 5", "%.15g %.14g %.15g %.15g", pow(2, ten), pow(two, 0.5), atan(one), hypot(3, 4));
  prints("floor, ceil, trunc, round", "-3 -2 -2 -3", "%g %g %g %g", floor(halfn), ceil(halfn), trunc(halfn), round(halfn));
  prints("fmod and remainder", "1 -1", "%g %g", fmod(ten, 3), remainder(11, 3 + zero));
  int exponent;
  prints("frexp and ldexp", "0.625 4 80", "%g %d %g", frexp(ten, &exponent), (frexp(ten, &exponent), exponent), ldexp(ten, 3));
  volatile long double long_third = 1.0L / 3.0L;
  prints("long double", "0.3333333333", "%.10Lf", long_third);

  double sum = 0;
  for (int i = 1; i <= 100000; i++) sum += one / i;
  prints("a long sum", "12.09014612986334", "%.16g", sum);
  uint64_t x = 88172645463325252, mixed = 0;
  double walk = 1;
  float walkf = 1;
  for (int i = 0; i < 20000; i++) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    double operand = (double)(int64_t)x / 4294967296.0;
    walk = i % 4 == 0 ? walk * 0.5 + operand : i % 4 == 1 ? walk / (operand + 0.5) : i % 4 == 2 ? sqrt(fabs(walk)) : fma(walk, operand, -walk);
    walkf = i % 3 == 0 ? walkf + (float)operand : i % 3 == 1 ? walkf * 0.001f : walkf / 3.0f;
    if (!isfinite(walk)) walk = 1;
    if (!isfinite(walkf)) walkf = 1;
    mixed = mixed * 31 + bits(walk) + bits32(walkf);
  }
  equal("20000 random operations", (long long)mixed, 5770580849967398527);
  return guest_end();
}
