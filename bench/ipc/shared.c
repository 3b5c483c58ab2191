/*
 * Copies of SIZE bytes into a buffer that another one could read, and back out of it: `shared SIZE SECONDS`. In a cVM the buffer is the CP_File "bench", by capabilities;
 * elsewhere it is shared memory. Prints `result N`: copies a second.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#ifdef __riscv
#include "../../packages/libos/include/cvm.h"
#endif

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static char *memory;
#ifdef __riscv
static cvm_file file;
static int by_capability;
#endif

__attribute__((noinline)) static long copy_in(const char *from, size_t size) {
#ifdef __riscv
  if (by_capability) return cvm_write(&file, 0, from, size);
#endif
  memcpy(memory, from, size);
  return (long)size;
}
__attribute__((noinline)) static long copy_out(char *to, size_t size) {
#ifdef __riscv
  if (by_capability) return cvm_read(&file, 0, to, size);
#endif
  memcpy(to, memory, size);
  return (long)size;
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  const size_t size = (size_t)atol(argv[1]);
  const double seconds = atof(argv[2]);
  char *const buffer = aligned_alloc(4096, (size + 4095) / 4096 * 4096);
  memset(buffer, 'x', size);
#ifdef __riscv
  by_capability = cvm_open(&file, "bench", O_RDWR) == 0;
#endif
  memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  const double start = now();
  const uint64_t step = size >= 1048576 ? 1 : 1048576 / size / 8 + 1;
  double begin = start + seconds / 2, at = start, end = begin + seconds;
  uint64_t copies = 0;
  for (int measuring = 0; at < end;) {
    for (uint64_t i = 0; i < step; i++) {
      if (copy_in(buffer, size) != (long)size || copy_out(buffer, size) != (long)size) {
        fprintf(stderr, "short copy\n");
        return 1;
      }
      copies += 2;
    }
    at = now();
    if (measuring || at < begin) continue;
    measuring = 1;
    printf("begin\n");
    fflush(stdout);
    begin = at = now();
    end = begin + seconds;
    copies = 0;
  }
  printf("result %.6g\n", (double)copies / (at - begin));
  return 0;
}
