/*
 * timed PROGRAM [ARGUMENT...]: runs a program, waits for it, and prints on standard error how long that took and how much processor time it
 * used with its children, in seconds:
 *   timed wall=<s> user=<s> system=<s>
 * Exits as the program does; 127 when it cannot be started, 128 + n for a signal.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}
static double seconds(struct timeval time) { return (double)time.tv_sec + (double)time.tv_usec * 1e-6; }

int main(int argc, char **argv) {
  if (argc < 2) {
    fputs("usage: timed PROGRAM [ARGUMENT...]\n", stderr);
    return 2;
  }
  double start = now();
  pid_t child = fork();
  if (child == 0) {
    execvp(argv[1], argv + 1);
    perror(argv[1]);
    _exit(127);
  }
  int status;
  struct rusage usage;
  if (child < 0 || wait4(child, &status, 0, &usage) != child) {
    perror("timed");
    return 126;
  }
  fprintf(stderr, "timed wall=%.6f user=%.6f system=%.6f\n", now() - start, seconds(usage.ru_utime), seconds(usage.ru_stime));
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
