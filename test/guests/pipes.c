/* pipe2, ends of pipes, EPIPE and SIGPIPE, capacity, O_NONBLOCK, FIONREAD, blocking readers and writers, splice. */
#include "guest.h"
#include <limits.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

static volatile int pipe_signals;
static void on_pipe(int number) {
  pipe_signals += number == SIGPIPE;
}

int main(void) {
  guest_begin();
  int p[2];
  char text[128];
  struct stat st;
  result("pipe", pipe(p), 0);
  truth("two descriptors", p[0] >= 3 && p[1] == p[0] + 1);
  fails("pipe2 with a bad flag", pipe2(p, 0x1), EINVAL);
  fails("pipe2 to a bad pointer", syscall(SYS_pipe2, BAD_POINTER, 0), EFAULT);
  fstat(p[0], &st);
  truth("a pipe's kind", S_ISFIFO(st.st_mode));
  fails("lseek of a pipe", lseek(p[0], 0, SEEK_SET), ESPIPE);
  fails("pread of a pipe", pread(p[0], text, 1, 0), ESPIPE);
  fails("reading the writing end", read(p[1], text, 1), EBADF);
  fails("writing the reading end", write(p[0], text, 1), EBADF);
  result("write", write(p[1], "hello", 5), 5);
  result("write more", write(p[1], " pipe", 5), 5);
  int waiting = 0;
  result("FIONREAD", ioctl(p[0], FIONREAD, &waiting), 0);
  result("what waits", waiting, 10);
  result("a short read", read(p[0], text, 3), 3);
  memset(text, 0, sizeof text);
  result("the rest in one read", read(p[0], text, sizeof text), 7);
  same_text("in order", text, "lo pipe");
  result("FIONREAD of nothing", ({ ioctl(p[0], FIONREAD, &waiting); waiting; }), 0);
  fcntl(p[0], F_SETFL, O_NONBLOCK);
  fails("a nonblocking read of nothing", read(p[0], text, 1), EAGAIN);
  result("F_GETPIPE_SZ", fcntl(p[1], F_GETPIPE_SZ), 65536);
  fcntl(p[1], F_SETFL, O_NONBLOCK);
  int total = 0;
  static char block[4096];
  for (ssize_t n; (n = write(p[1], block, sizeof block)) > 0;) total += n;
  fails("a full pipe", write(p[1], block, 1), EAGAIN);
  result("holds 64 KiB", total, 65536);
  struct pollfd ask[2] = {{p[0], POLLIN, 0}, {p[1], POLLOUT, 0}};
  result("poll of a full pipe", poll(ask, 2, 0), 1);
  truth("readable, not writable", ask[0].revents == POLLIN && ask[1].revents == 0);
  while (read(p[0], block, sizeof block) > 0) {
  }
  result("poll of an empty pipe", poll(ask, 2, 0), 1);
  truth("writable, not readable", ask[0].revents == 0 && ask[1].revents == POLLOUT);
  fails("read to a bad pointer", ({ write(p[1], "x", 1); read(p[0], BAD_POINTER, 1); }), EFAULT);
  fails("write from a bad pointer", write(p[1], BAD_POINTER, 1), EFAULT);
  close(p[1]);
  read(p[0], text, sizeof text);
  result("the end of a pipe", read(p[0], text, 1), 0);
  ask[0].revents = 0;
  poll(ask, 1, 0);
  result("poll of the end", ask[0].revents, POLLHUP);
  close(p[0]);

  signal(SIGPIPE, SIG_IGN);
  pipe(p);
  close(p[0]);
  fails("writing without a reader", write(p[1], "x", 1), EPIPE);
  ask[0].fd = p[1];
  ask[0].events = POLLOUT;
  poll(ask, 1, 0);
  result("poll without a reader", ask[0].revents, POLLOUT | POLLERR);
  signal(SIGPIPE, on_pipe);
  fails("writing without a reader again", write(p[1], "x", 1), EPIPE);
  result("sends SIGPIPE", pipe_signals, 1);
  signal(SIGPIPE, SIG_DFL);
  pid_t child = fork();
  if (child == 0) {
    write(p[1], "x", 1);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  truth("which kills by default", WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE);
  close(p[1]);

  result("pipe2 with O_CLOEXEC|O_NONBLOCK", pipe2(p, O_CLOEXEC | O_NONBLOCK), 0);
  truth("has both", fcntl(p[0], F_GETFD) == FD_CLOEXEC && fcntl(p[1], F_GETFL) == (O_WRONLY | O_NONBLOCK));
  close(p[0]);
  close(p[1]);

  pipe(p);
  child = fork();
  if (child == 0) {
    close(p[0]);
    sleep_ms(30);
    write(p[1], "later", 5);
    _exit(0);
  }
  close(p[1]);
  memset(text, 0, sizeof text);
  result("a reader waits for a writer", read(p[0], text, sizeof text), 5);
  same_text("and gets the bytes", text, "later");
  result("then for its end", read(p[0], text, sizeof text), 0);
  close(p[0]);
  waitpid(child, NULL, 0);

  pipe(p);
  child = fork();
  if (child == 0) {
    close(p[0]);
    static char big[500000];
    for (size_t i = 0; i < sizeof big; i++) big[i] = (char)(i % 253);
    _exit(write(p[1], big, sizeof big) == sizeof big ? 0 : 1);
  }
  close(p[1]);
  size_t at = 0;
  int right = 1;
  for (ssize_t n; (n = read(p[0], block, sizeof block)) > 0;) for (ssize_t i = 0; i < n; i++, at++) right = right && block[i] == (char)(at % 253);
  result("a large write passes through a pipe", at, 500000);
  truth("whole and in order", right);
  waitpid(child, &status, 0);
  result("the writer wrote all", status, 0);
  close(p[0]);

  pipe(p);
  child = fork();
  if (child == 0) {
    close(p[0]);
    struct iovec parts[3] = {{"a", 1}, {"bc", 2}, {"def", 3}};
    _exit(writev(p[1], parts, 3) == 6 ? 0 : 1);
  }
  waitpid(child, &status, 0);
  result("writev to a pipe", status, 0);
  memset(text, 0, sizeof text);
  char one[2], two[8] = "";
  struct iovec in[2] = {{one, 2}, {two, 7}};
  result("readv of a pipe", readv(p[0], in, 2), 6);
  same_text("scattered", two, "cdef");
  close(p[0]);
  close(p[1]);

  int q[2];
  pipe(p);
  pipe(q);
  write(p[1], "spliced", 7);
  result("splice between pipes", splice(p[0], NULL, q[1], NULL, 7, 0), 7);
  memset(text, 0, sizeof text);
  read(q[0], text, sizeof text);
  same_text("moved", text, "spliced");
  write(p[1], "tee", 3);
  result("tee", tee(p[0], q[1], 3, 0), 3);
  memset(text, 0, sizeof text);
  read(p[0], text, sizeof text);
  same_text("leaves the bytes", text, "tee");
  close(p[0]);
  close(p[1]);
  close(q[0]);
  close(q[1]);
  return guest_end();
}
