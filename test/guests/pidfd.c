/* pidfd_open, pidfd_send_signal (by /proc/PID too), poll of a pidfd, waitid with P_PIDFD, CLONE_PIDFD. */
#include "guest.h"
#include <poll.h>
#include <sched.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

static volatile int received;
static void on_signal(int number) {
  received = number;
}

static int open_pid(pid_t pid, unsigned flags) {
  return (int)syscall(SYS_pidfd_open, pid, flags);
}
static int send_by(int fd, int number, void *info, unsigned flags) {
  return (int)syscall(SYS_pidfd_send_signal, fd, number, info, flags);
}

int main(void) {
  guest_begin();
  signal(SIGUSR1, on_signal);
  int own = (int)works("pidfd_open of itself", open_pid(getpid(), 0));
  result("close-on-exec from the start", fcntl(own, F_GETFD), FD_CLOEXEC);
  fails("pidfd_open of nobody", open_pid(999999, 0), ESRCH);
  fails("pidfd_open of 0", open_pid(0, 0), EINVAL);
  fails("pidfd_open with a bad flag", open_pid(getpid(), 1), EINVAL);
  char byte;
  fails("read of a pidfd", read(own, &byte, 1), EINVAL);
  result("a signal to itself", send_by(own, SIGUSR1, NULL, 0), 0);
  result("arrives", received, SIGUSR1);
  result("signal 0 asks", send_by(own, 0, NULL, 0), 0);
  fails("a bad signal", send_by(own, 99, NULL, 0), EINVAL);
  fails("a bad descriptor", send_by(BAD_FD, 0, NULL, 0), EBADF);
  int pipes[2];
  pipe(pipes);
  fails("a descriptor of something else", send_by(pipes[0], 0, NULL, 0), EBADF);
  close(own);

  char path[64];
  snprintf(path, sizeof path, "/proc/%d", getpid());
  int folder = open(path, O_RDONLY | O_DIRECTORY);
  received = 0;
  result("a signal by /proc/PID", send_by(folder, SIGUSR1, NULL, 0), 0);
  result("arrives too", received, SIGUSR1);
  close(folder);
  folder = open("/proc", O_RDONLY | O_DIRECTORY);
  fails("by /proc", send_by(folder, 0, NULL, 0), EBADF);
  close(folder);

  pid_t child = fork();
  if (child == 0) {
    close(pipes[1]);
    read(pipes[0], &byte, 1);
    _exit(7);
  }
  int fd = open_pid(child, 0);
  struct pollfd ask = {fd, POLLIN, 0};
  result("poll of one that runs", poll(&ask, 1, 0), 0);
  siginfo_t info;
  memset(&info, 0, sizeof info);
  result("waitid of one that runs", waitid((idtype_t)P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG), 0);
  result("tells nobody", info.si_pid, 0);
  close(pipes[1]);
  result("poll waits for its end", poll(&ask, 1, 20000), 1);
  result("readable", ask.revents & POLLIN, POLLIN);
  result("a zombie can be asked for", send_by(fd, 0, NULL, 0), 0);
  result("waitid", waitid((idtype_t)P_PIDFD, (id_t)fd, &info, WEXITED), 0);
  truth("tells who and how", info.si_pid == child && info.si_code == CLD_EXITED && info.si_status == 7);
  fails("one that is gone gets no signal", send_by(fd, 0, NULL, 0), ESRCH);
  fails("and is not waited for", waitid((idtype_t)P_PIDFD, (id_t)fd, &info, WEXITED), ECHILD);
  close(fd);
  close(pipes[0]);

  int born = -1;
  child = (pid_t)syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, &born, 0, 0);
  if (child == 0) {
    pause();
    _exit(0);
  }
  truth("CLONE_PIDFD gives a descriptor", child > 0 && born >= 0);
  result("which kills", send_by(born, SIGKILL, NULL, 0), 0);
  int status = 0;
  result("the child", waitpid(child, &status, 0), child);
  truth("by that signal", WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  close(born);
  return guest_end();
}
