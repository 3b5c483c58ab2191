/* memcpy between blocks that no cache holds. */
#define BLOCK_BYTES (32 << 20)
#define COPIES_A_RUN 4
#include "memcpy.c"
