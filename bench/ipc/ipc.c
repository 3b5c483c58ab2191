/*
 * Bytes and round trips between two programs, on one core.
 *
 *   ipc pair pipe|unix|tcp stream|trip SIZE SECONDS   two processes of one system
 *   ipc serve unix|tcp ADDRESS stream|trip SIZE       the other end of `ask`: a path, or a port on all addresses
 *   ipc ask unix|tcp ADDRESS stream|trip SIZE SECONDS a path, or ADDRESS:PORT
 *
 * Prints `begin` when it begins to measure and `result N` at the end: messages of SIZE bytes a second that arrived, or round trips a second.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char *buffer;
static size_t size;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void write_all(int fd, const char *from, size_t count) {
  while (count > 0) {
    ssize_t done = write(fd, from, count);
    if (done <= 0) fail("write");
    from += done;
    count -= (size_t)done;
  }
}

/* False at the end before the first byte. */
static int read_all(int fd, char *to, size_t count) {
  for (size_t at = 0; at < count;) {
    ssize_t done = read(fd, to + at, count - at);
    if (done < 0) fail("read");
    if (done == 0) return at > 0 ? (fprintf(stderr, "cut off\n"), exit(1), 0) : 0;
    at += (size_t)done;
  }
  return 1;
}

/* The other end: gives back what it gets, or counts it and says at the end how many bytes there were. */
static void serve(int in, int out, int trips) {
  uint64_t total = 0;
  if (trips) {
    while (read_all(in, buffer, size)) write_all(out, buffer, size);
    return;
  }
  for (;;) {
    ssize_t done = read(in, buffer, size);
    if (done < 0) fail("read");
    if (done == 0) break;
    total += (uint64_t)done;
  }
  write_all(out, (char *)&total, sizeof total);
}

static void ask(int in, int out, int trips, double seconds) {
  const uint64_t step = size >= 65536 ? 1 : 65536 / size;
  uint64_t sent = 0, counted = 0, arrived = 0;
  double start = now(), begin = start + seconds / 2, end = begin + seconds, at = start;
  for (int measuring = 0; at < end;) {
    for (uint64_t i = 0; i < (trips ? 16 : step); i++) {
      write_all(out, buffer, size);
      if (trips && !read_all(in, buffer, size)) fail("end");
      sent++;
    }
    at = now();
    if (measuring || at < begin) continue;
    measuring = 1;
    printf("begin\n");
    fflush(stdout);
    begin = at = now();
    end = begin + seconds;
    counted = sent;
  }
  if (!trips) {
    if (in == out) shutdown(out, SHUT_WR);
    else close(out);
    if (!read_all(in, (char *)&arrived, sizeof arrived) || arrived != sent * size) {
      fprintf(stderr, "%llu of %llu bytes arrived\n", (unsigned long long)arrived, (unsigned long long)(sent * size));
      exit(1);
    }
    at = now();
  }
  printf("result %.6g\n", (double)(sent - counted) / (at - begin));
}

static int no_delay(int fd) {
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

static int make(int tcp, const char *text, struct sockaddr_storage *address, socklen_t *length) {
  memset(address, 0, sizeof *address);
  if (tcp) {
    struct sockaddr_in *inet = (struct sockaddr_in *)address;
    const char *colon = strchr(text, ':');
    char host[32] = "0.0.0.0";
    if (colon != NULL) snprintf(host, sizeof host, "%.*s", (int)(colon - text), text);
    inet->sin_family = AF_INET;
    inet->sin_port = htons((uint16_t)atoi(colon == NULL ? text : colon + 1));
    if (inet_pton(AF_INET, host, &inet->sin_addr) != 1) fail(text);
    *length = sizeof *inet;
  } else {
    struct sockaddr_un *local = (struct sockaddr_un *)address;
    local->sun_family = AF_UNIX;
    snprintf(local->sun_path, sizeof local->sun_path, "%s", text);
    *length = sizeof *local;
  }
  int fd = socket(tcp ? AF_INET : AF_UNIX, SOCK_STREAM, 0);
  if (fd < 0) fail("socket");
  return fd;
}

static void pair(const char *kind, int there[2], int back[2]) {
  if (!strcmp(kind, "pipe")) {
    if (pipe(there) != 0 || pipe(back) != 0) fail("pipe");
    return;
  }
  int ends[2];
  if (!strcmp(kind, "unix")) {
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) fail("socketpair");
  } else {
    struct sockaddr_storage address;
    socklen_t length;
    int listener = make(1, "127.0.0.1:0", &address, &length);
    if (bind(listener, (struct sockaddr *)&address, length) != 0 || listen(listener, 1) != 0) fail("listen");
    getsockname(listener, (struct sockaddr *)&address, &length);
    ends[0] = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(ends[0], (struct sockaddr *)&address, length) != 0) fail("connect");
    ends[1] = accept(listener, NULL, NULL);
    if (ends[1] < 0) fail("accept");
    close(listener);
    no_delay(ends[0]);
    no_delay(ends[1]);
  }
  there[1] = back[0] = ends[0];
  there[0] = back[1] = ends[1];
}

int main(int argc, char **argv) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(0, &one);
  sched_setaffinity(0, sizeof one, &one);
  const int pairing = argc > 1 && !strcmp(argv[1], "pair");
  const int first = pairing ? 3 : 4;
  if (argc < first + 2) return 2;
  const int trips = !strcmp(argv[first], "trip");
  size = (size_t)atol(argv[first + 1]);
  const double seconds = argc > first + 2 ? atof(argv[first + 2]) : 1;
  buffer = aligned_alloc(4096, (size + 4095) / 4096 * 4096);
  memset(buffer, 'x', size);
  if (pairing) {
    int there[2], back[2];
    pair(argv[2], there, back);
    const pid_t child = fork();
    if (child < 0) fail("fork");
    if (child == 0) {
      close(there[1]);
      if (back[0] != there[1]) close(back[0]);
      serve(there[0], back[1], trips);
      return 0;
    }
    close(there[0]);
    if (back[1] != there[0]) close(back[1]);
    ask(back[0], there[1], trips, seconds);
    close(there[1]);
    close(back[0]);
    return waitpid(child, NULL, 0) == child ? 0 : 1;
  }
  const int tcp = !strcmp(argv[2], "tcp");
  struct sockaddr_storage address;
  socklen_t length;
  int fd = make(tcp, argv[3], &address, &length);
  if (!strcmp(argv[1], "serve")) {
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, length) != 0 || listen(fd, 1) != 0) fail("listen");
    printf("listening\n");
    fflush(stdout);
    int end = accept(fd, NULL, NULL);
    if (end < 0) fail("accept");
    if (tcp) no_delay(end);
    serve(end, end, trips);
    return 0;
  }
  if (connect(fd, (struct sockaddr *)&address, length) != 0) fail("connect");
  if (tcp) no_delay(fd);
  ask(fd, fd, trips, seconds);
  return 0;
}
