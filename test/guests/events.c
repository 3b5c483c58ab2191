/* epoll (level, edge, one-shot), poll, ppoll, select, pselect, eventfd, timerfd, signalfd, inotify. */
#include "guest.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

static volatile int signals;
static void on_signal(int number) {
  (void)number;
  signals++;
}
static int one(int epoll, int timeout) {
  struct epoll_event event = {0};
  int n = epoll_wait(epoll, &event, 1, timeout);
  return n == 1 ? (int)event.events : n == 0 ? 0 : -errno;
}

static void epolls(void) {
  int p[2], s[2];
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0x1122334455667788}, got[8];
  int epoll = (int)works("epoll_create1", epoll_create1(EPOLL_CLOEXEC));
  result("EPOLL_CLOEXEC", fcntl(epoll, F_GETFD), FD_CLOEXEC);
  fails("epoll_create1 with a bad flag", epoll_create1(1), EINVAL);
  fails("epoll_create of size 0", epoll_create(0), EINVAL);
  pipe(p);
  result("EPOLL_CTL_ADD", epoll_ctl(epoll, EPOLL_CTL_ADD, p[0], &event), 0);
  fails("EPOLL_CTL_ADD again", epoll_ctl(epoll, EPOLL_CTL_ADD, p[0], &event), EEXIST);
  fails("EPOLL_CTL_MOD of a stranger", epoll_ctl(epoll, EPOLL_CTL_MOD, p[1], &event), ENOENT);
  fails("EPOLL_CTL_DEL of a stranger", epoll_ctl(epoll, EPOLL_CTL_DEL, p[1], NULL), ENOENT);
  fails("a bad operation", epoll_ctl(epoll, 9, p[0], &event), EINVAL);
  fails("adding itself", epoll_ctl(epoll, EPOLL_CTL_ADD, epoll, &event), EINVAL);
  fails("adding a bad descriptor", epoll_ctl(epoll, EPOLL_CTL_ADD, BAD_FD, &event), EBADF);
  fails("a bad epoll descriptor", epoll_ctl(BAD_FD, EPOLL_CTL_ADD, p[0], &event), EBADF);
  fails("a descriptor that is no epoll", epoll_ctl(p[0], EPOLL_CTL_ADD, p[1], &event), EINVAL);
  fails("a bad event pointer", epoll_ctl(epoll, EPOLL_CTL_MOD, p[0], BAD_POINTER), EFAULT);
  int file = open("/tmp", O_RDONLY);
  fails("adding a folder", epoll_ctl(epoll, EPOLL_CTL_ADD, file, &event), EPERM);
  close(file);
  fails("epoll_wait for no events", epoll_wait(epoll, got, 0, 0), EINVAL);
  fails("epoll_wait of a bad descriptor", epoll_wait(BAD_FD, got, 1, 0), EBADF);
  fails("epoll_wait of no epoll", epoll_wait(p[0], got, 1, 0), EINVAL);
  result("nothing is ready", epoll_wait(epoll, got, 8, 0), 0);
  double before = now_ms();
  result("a time-out", epoll_wait(epoll, got, 8, 20), 0);
  between("lasts", now_ms() - before, 19, 2000);
  write(p[1], "ab", 2);
  result("ready", epoll_wait(epoll, got, 8, 1000), 1);
  truth("with its data", got[0].events == EPOLLIN && got[0].data.u64 == 0x1122334455667788);
  result("level-triggered stays ready", one(epoll, 0), EPOLLIN);
  char byte;
  fails("epoll_wait to a bad pointer", epoll_wait(epoll, BAD_POINTER, 1, 0), EFAULT);
  read(p[0], &byte, 1);
  result("while bytes are left", one(epoll, 0), EPOLLIN);
  read(p[0], &byte, 1);
  result("and no longer", one(epoll, 0), 0);

  event.events = EPOLLIN | EPOLLET;
  epoll_ctl(epoll, EPOLL_CTL_MOD, p[0], &event);
  write(p[1], "ab", 2);
  result("edge-triggered tells once", one(epoll, 0), EPOLLIN);
  result("not twice", one(epoll, 0), 0);
  read(p[0], &byte, 1);
  result("nor after a part was read", one(epoll, 0), 0);
  write(p[1], "c", 1);
  result("but when more comes", one(epoll, 0), EPOLLIN);
  epoll_ctl(epoll, EPOLL_CTL_MOD, p[0], &event);
  result("EPOLL_CTL_MOD arms it again", one(epoll, 0), EPOLLIN);
  event.events = EPOLLIN | EPOLLONESHOT;
  epoll_ctl(epoll, EPOLL_CTL_MOD, p[0], &event);
  result("one-shot tells once", one(epoll, 0), EPOLLIN);
  write(p[1], "d", 1);
  result("and not again", one(epoll, 0), 0);
  epoll_ctl(epoll, EPOLL_CTL_MOD, p[0], &event);
  result("until it is armed", one(epoll, 0), EPOLLIN);
  result("EPOLL_CTL_DEL", epoll_ctl(epoll, EPOLL_CTL_DEL, p[0], NULL), 0);
  result("tells nothing more", one(epoll, 0), 0);

  event.events = EPOLLIN;
  epoll_ctl(epoll, EPOLL_CTL_ADD, p[0], &event);
  char rest[16];
  read(p[0], rest, sizeof rest);
  close(p[1]);
  result("a closed writer is EPOLLHUP", one(epoll, 0), EPOLLHUP);
  close(p[0]);
  result("a closed descriptor leaves the set", one(epoll, 0), 0);
  pipe(p);
  event.events = EPOLLOUT;
  epoll_ctl(epoll, EPOLL_CTL_ADD, p[1], &event);
  result("a pipe is writable", one(epoll, 0), EPOLLOUT);
  close(p[0]);
  result("a closed reader is EPOLLERR", one(epoll, 0), EPOLLOUT | EPOLLERR);
  close(p[1]);

  socketpair(AF_UNIX, SOCK_STREAM, 0, s);
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP;
  epoll_ctl(epoll, EPOLL_CTL_ADD, s[0], &event);
  result("a socket", one(epoll, 0), EPOLLOUT);
  write(s[1], "x", 1);
  result("with a byte", one(epoll, 0), EPOLLIN | EPOLLOUT);
  shutdown(s[1], SHUT_WR);
  result("half-closed", one(epoll, 0), EPOLLIN | EPOLLOUT | EPOLLRDHUP);
  close(s[1]);
  result("closed", one(epoll, 0), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP);
  close(s[0]);

  int fds[20][2];
  for (int i = 0; i < 20; i++) {
    pipe(fds[i]);
    event.events = EPOLLIN;
    event.data.u32 = i;
    epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i][0], &event);
    write(fds[i][1], "x", 1);
  }
  int seen = 0;
  for (int round = 0; round < 5; round++) {
    int n = epoll_wait(epoll, got, 4, 0);
    for (int i = 0; i < n; i++) seen |= 1 << got[i].data.u32;
  }
  result("ready descriptors take turns", seen, (1 << 20) - 1);
  for (int i = 0; i < 20; i++) close(fds[i][0]), close(fds[i][1]);

  int inner = epoll_create1(0);
  pipe(p);
  event.events = EPOLLIN;
  epoll_ctl(inner, EPOLL_CTL_ADD, p[0], &event);
  epoll_ctl(epoll, EPOLL_CTL_ADD, inner, &event);
  result("an epoll in an epoll", one(epoll, 0), 0);
  write(p[1], "x", 1);
  result("is ready with it", one(epoll, 0), EPOLLIN);
  fails("a circle of epolls", epoll_ctl(inner, EPOLL_CTL_ADD, epoll, &event), ELOOP);
  struct pollfd ask = {inner, POLLIN, 0};
  result("poll of an epoll", poll(&ask, 1, 0), 1);
  close(inner);
  pid_t child = fork();
  if (child == 0) {
    sleep_ms(20);
    write(p[1], "y", 1);
    _exit(0);
  }
  read(p[0], rest, 1);
  event.events = EPOLLIN;
  epoll_ctl(epoll, EPOLL_CTL_ADD, p[0], &event);
  result("a wait that another process ends", one(epoll, 5000), EPOLLIN);
  while (waitpid(child, NULL, 0) < 0) {
  }
  read(p[0], rest, 1);
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  sigaction(SIGUSR1, &action, NULL);
  sigset_t set, none;
  sigemptyset(&none);
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, NULL);
  raise(SIGUSR1);
  fails("epoll_pwait lets a signal in", epoll_pwait(epoll, got, 1, 5000, &none), EINTR);
  result("whose handler ran", signals, 1);
  sigprocmask(SIG_UNBLOCK, &set, NULL);
  child = fork();
  if (child == 0) {
    sleep_ms(20);
    kill(getppid(), SIGUSR1);
    _exit(0);
  }
  fails("epoll_wait is not restarted", epoll_wait(epoll, got, 1, 5000), EINTR);
  while (waitpid(child, NULL, 0) < 0) {
  }
  close(p[0]);
  close(p[1]);
  close(epoll);
}

static void polls(void) {
  int p[2];
  pipe(p);
  struct pollfd ask[3] = {{p[0], POLLIN, 0}, {p[1], POLLOUT, 0}, {-1, POLLIN, 77}};
  result("poll", poll(ask, 3, 0), 1);
  truth("its answers", ask[0].revents == 0 && ask[1].revents == POLLOUT && ask[2].revents == 0);
  ask[0].fd = BAD_FD;
  result("poll of a bad descriptor", poll(ask, 1, 1000), 1);
  result("is POLLNVAL", ask[0].revents, POLLNVAL);
  fails("poll at a bad pointer", poll(BAD_POINTER, 1, 0), EFAULT);
  struct rlimit limit, few;
  static struct pollfd many[101];
  getrlimit(RLIMIT_NOFILE, &limit);
  few = limit;
  few.rlim_cur = 100;
  setrlimit(RLIMIT_NOFILE, &few);
  fails("poll of more than there can be", poll(many, 101, 0), EINVAL);
  setrlimit(RLIMIT_NOFILE, &limit);
  double before = now_ms();
  result("poll of nothing waits", poll(NULL, 0, 20), 0);
  between("for its time-out", now_ms() - before, 19, 2000);
  int file = open("/dev/null", O_RDWR);
  ask[0] = (struct pollfd){file, POLLIN | POLLOUT, 0};
  result("a device is always ready", poll(ask, 1, 0), 1);
  result("for both", ask[0].revents, POLLIN | POLLOUT);
  close(file);
  signals = 0;
  sigset_t set, none;
  sigemptyset(&none);
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, NULL);
  raise(SIGUSR1);
  ask[0] = (struct pollfd){p[0], POLLIN, 0};
  fails("ppoll lets a signal in", ppoll(ask, 1, &(struct timespec){5, 0}, &none), EINTR);
  result("whose handler ran", signals, 1);
  fails("ppoll with a bad time", ppoll(ask, 1, &(struct timespec){0, 1000000000}, NULL), EINVAL);
  raise(SIGUSR1);
  result("a signal that the mask keeps out", ppoll(ask, 1, &(struct timespec){0, 10000000}, &set), 0);
  sigprocmask(SIG_UNBLOCK, &set, NULL);
  result("comes later", signals, 2);

  fd_set in, out;
  FD_ZERO(&in);
  FD_ZERO(&out);
  FD_SET(p[0], &in);
  FD_SET(p[1], &out);
  result("select", select(p[1] + 1, &in, &out, NULL, &(struct timeval){1, 0}), 1);
  truth("its answers", !FD_ISSET(p[0], &in) && FD_ISSET(p[1], &out));
  write(p[1], "x", 1);
  FD_SET(p[0], &in);
  result("pselect", pselect(p[1] + 1, &in, &out, NULL, NULL, &none), 2);
  FD_ZERO(&in);
  FD_SET(p[0], &in);
  char byte;
  read(p[0], &byte, 1);
  struct timeval shortly = {0, 20000};
  before = now_ms();
  result("select with a time-out", select(p[1] + 1, &in, NULL, NULL, &shortly), 0);
  between("waits", now_ms() - before, 19, 2000);
  truth("clears its set and its time", !FD_ISSET(p[0], &in) && shortly.tv_sec == 0 && shortly.tv_usec == 0);
  FD_SET(50, &in);
  fails("select of a bad descriptor", select(51, &in, NULL, NULL, &shortly), EBADF);
  fails("select of a negative count", select(-1, NULL, NULL, NULL, &shortly), EINVAL);
  close(p[0]);
  close(p[1]);
}

static void eventfds(void) {
  uint64_t value = 0;
  int fd = (int)works("eventfd", eventfd(3, EFD_NONBLOCK));
  result("read", read(fd, &value, 8), 8);
  result("takes all", value, 3);
  fails("read of 0", read(fd, &value, 8), EAGAIN);
  value = 5;
  write(fd, &value, 8);
  value = 6;
  result("write", write(fd, &value, 8), 8);
  read(fd, &value, 8);
  result("writes add", value, 11);
  fails("a short read", ({ value = 1; write(fd, &value, 8); read(fd, &value, 4); }), EINVAL);
  fails("a short write", write(fd, &value, 4), EINVAL);
  value = UINT64_MAX;
  fails("writing the largest value", write(fd, &value, 8), EINVAL);
  value = UINT64_MAX - 1;
  fails("writing over the edge", write(fd, &value, 8), EAGAIN);
  struct pollfd ask = {fd, POLLIN | POLLOUT, 0};
  poll(&ask, 1, 0);
  result("poll", ask.revents, POLLIN | POLLOUT);
  close(fd);
  fd = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
  read(fd, &value, 8);
  result("a semaphore takes one", value, 1);
  read(fd, &value, 8);
  fails("and then none", read(fd, &value, 8), EAGAIN);
  close(fd);
  fails("eventfd with a bad flag", eventfd(0, 0x10), EINVAL);
  fd = eventfd(0, 0);
  pid_t child = fork();
  if (child == 0) {
    sleep_ms(20);
    value = 9;
    write(fd, &value, 8);
    _exit(0);
  }
  read(fd, &value, 8);
  result("a blocking read waits", value, 9);
  waitpid(child, NULL, 0);
  close(fd);
}

static void timerfds(void) {
  uint64_t times = 0;
  int fd = (int)works("timerfd_create", timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
  fails("timerfd_create of a bad clock", timerfd_create(99, 0), EINVAL);
  fails("timerfd_create with a bad flag", timerfd_create(CLOCK_MONOTONIC, 1), EINVAL);
  fails("read of an unset timer", read(fd, &times, 8), EAGAIN);
  struct itimerspec set = {{0, 10000000}, {0, 20000000}}, old;
  double before = now_ms();
  result("timerfd_settime", timerfd_settime(fd, 0, &set, NULL), 0);
  timerfd_gettime(fd, &old);
  truth("timerfd_gettime", old.it_interval.tv_nsec == 10000000 && old.it_value.tv_nsec > 0 && old.it_value.tv_nsec <= 20000000);
  struct pollfd ask = {fd, POLLIN, 0};
  result("poll waits for it", poll(&ask, 1, 5000), 1);
  between("its time", now_ms() - before, 20, 2000);
  result("read", read(fd, &times, 8), 8);
  truth("tells how often", times >= 1 && times < 200);
  sleep_ms(35);
  read(fd, &times, 8);
  truth("and counts what was missed", times >= 2);
  fails("a short read", read(fd, &times, 4), EINVAL);
  set = (struct itimerspec){{0, 0}, {0, 0}};
  result("disarming", timerfd_settime(fd, 0, &set, &old), 0);
  result("tells the old interval", old.it_interval.tv_nsec, 10000000);
  fails("nothing comes", read(fd, &times, 8), EAGAIN);
  set.it_value.tv_nsec = 1000000000;
  fails("a bad time", timerfd_settime(fd, 0, &set, NULL), EINVAL);
  fails("timerfd_settime of another descriptor", ({ set.it_value.tv_nsec = 0; timerfd_settime(1, 0, &set, NULL); }), EINVAL);
  fails("timerfd_settime of a bad descriptor", timerfd_settime(BAD_FD, 0, &set, NULL), EBADF);
  clock_gettime(CLOCK_MONOTONIC, &set.it_value);
  timerfd_settime(fd, TFD_TIMER_ABSTIME, &set, NULL);
  result("a time that is past", poll(&ask, 1, 1000), 1);
  close(fd);

  fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
  int parts = 0;
  for (int i = 0; i < 100; i++) {
    timerfd_settime(fd, 0, &(struct itimerspec){{0, 0}, {100, 0}}, NULL);
    timerfd_gettime(fd, &old);
    parts += old.it_value.tv_nsec % 1000000 != 0;
  }
  truth("the time of day has parts of a millisecond", parts > 50);
  close(fd);
}

static void signalfds(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  sigprocmask(SIG_BLOCK, &set, NULL);
  int fd = (int)works("signalfd", signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
  struct signalfd_siginfo info[2];
  fails("read without a signal", read(fd, info, sizeof info), EAGAIN);
  raise(SIGUSR2);
  struct pollfd ask = {fd, POLLIN, 0};
  result("poll", poll(&ask, 1, 1000), 1);
  result("read", read(fd, info, sizeof info), sizeof info[0]);
  truth("tells the signal", info[0].ssi_signo == SIGUSR2 && info[0].ssi_pid == (uint32_t)getpid());
  fails("takes it", read(fd, info, sizeof info), EAGAIN);
  fails("a short read", read(fd, info, 10), EINVAL);
  sigaddset(&set, SIGHUP);
  result("changing the set", signalfd(fd, &set, 0), fd);
  fails("signalfd of another descriptor", signalfd(1, &set, 0), EINVAL);
  close(fd);
  sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void inotifies(void) {
  enter_scratch();
  char space[4096];
  int fd = (int)works("inotify_init1", inotify_init1(IN_NONBLOCK));
  int watch = (int)works("inotify_add_watch", inotify_add_watch(fd, ".", IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MODIFY));
  fails("no event yet", read(fd, space, sizeof space), EAGAIN);
  write_file("new", "x");
  rename("new", "moved");
  unlink("moved");
  ssize_t length = read(fd, space, sizeof space);
  char seen[256] = "";
  for (ssize_t at = 0; at < length;) {
    struct inotify_event *event = (void *)(space + at);
    snprintf(seen + strlen(seen), sizeof seen - strlen(seen), "%x:%s ", event->mask, event->len ? event->name : "");
    at += sizeof *event + event->len;
  }
  same_text("its events", seen, "100:new 2:new 40:new 80:moved 200:moved ");
  result("inotify_rm_watch", inotify_rm_watch(fd, watch), 0);
  fails("inotify_rm_watch again", inotify_rm_watch(fd, watch), EINVAL);
  fails("a watch of a missing file", inotify_add_watch(fd, "missing", IN_CREATE), ENOENT);
  close(fd);
  leave_scratch();
}

int main(void) {
  guest_begin();
  epolls();
  polls();
  eventfds();
  timerfds();
  signalfds();
  inotifies();
  return guest_end();
}
