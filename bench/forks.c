/* Seconds until fork returns in the parent: least of several, for a process that uses little and for one with so many MiB more. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 8, MIB = 1 << 20 };

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

static double least(void) {
  double best = 1e9;
  for (int round = 0; round < ROUNDS; round++) {
    double start = now();
    pid_t child = fork();
    if (child == 0) _exit(0);
    double took = now() - start;
    if (child < 0 || waitpid(child, NULL, 0) != child) {
      perror("fork");
      exit(1);
    }
    if (took < best) best = took;
  }
  return best;
}

int main(int count, char **arguments) {
  size_t mib = count > 1 ? strtoul(arguments[1], NULL, 10) : 64;
  double small = least();
  unsigned char *more = mmap(NULL, mib * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (more == MAP_FAILED) {
    perror("mmap");
    return 1;
  }
  for (size_t at = 0; at < mib * MIB; at++) more[at] = (unsigned char)(at * 2654435761u >> 13);
  double large = least();
  printf("forks small=%.9f large=%.9f mib=%zu\n", small, large, mib);
  return 0;
}
