/* Accrued exceptions of floating point, the same numbers on every machine. */
#ifndef FLAGS_H
#define FLAGS_H

#include <fenv.h>
#include <stdint.h>

static inline void clear_flags(void) { feclearexcept(FE_ALL_EXCEPT); }

static inline uint64_t accrued_flags(void) {
  int set = fetestexcept(FE_ALL_EXCEPT);
  return (set & FE_INVALID ? 16u : 0u) | (set & FE_DIVBYZERO ? 8u : 0u) | (set & FE_OVERFLOW ? 4u : 0u) | (set & FE_UNDERFLOW ? 2u : 0u) |
         (set & FE_INEXACT ? 1u : 0u);
}

#endif
