/* The same over arrays that no cache holds, 72 MiB together. */
#define LENGTH (3 << 20)
#define PASSES_A_RUN 2
#include "triad.c"
