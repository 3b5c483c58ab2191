/* Unix sockets: streams, datagrams, sequenced packets, socketpair, abstract names, SCM_RIGHTS, SO_PEERCRED. */
#include "guest.h"
#include <poll.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct sockaddr_un named(const char *path) {
  struct sockaddr_un name = {.sun_family = AF_UNIX};
  strcpy(name.sun_path, path);
  return name;
}

/* Sends or receives one byte with descriptors. */
static ssize_t send_fds(int socket, const int *fds, int count) {
  union {
    char space[CMSG_SPACE(sizeof(int) * 4)];
    struct cmsghdr align;
  } control;
  memset(&control, 0, sizeof control);
  struct iovec io = {"F", 1};
  struct msghdr message = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = CMSG_SPACE(sizeof(int) * count)};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int) * count);
  memcpy(CMSG_DATA(header), fds, sizeof(int) * count);
  return sendmsg(socket, &message, 0);
}
static int receive_fds(int socket, int *fds, int space, int flags) {
  union {
    char space[CMSG_SPACE(sizeof(int) * 4)];
    struct cmsghdr align;
  } control;
  char byte;
  struct iovec io = {&byte, 1};
  struct msghdr message = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = CMSG_SPACE(sizeof(int) * space)};
  if (recvmsg(socket, &message, flags) != 1) return -1;
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (header == NULL || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) return 0;
  int count = (int)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
  memcpy(fds, CMSG_DATA(header), sizeof(int) * count);
  return count;
}

int main(void) {
  guest_begin();
  enter_scratch();
  signal(SIGPIPE, SIG_IGN);
  char text[128];
  struct sockaddr_un name = named("socket"), peer;
  socklen_t size;
  struct stat st;

  int server = (int)works("socket", socket(AF_UNIX, SOCK_STREAM, 0));
  fails("a bad protocol", socket(AF_UNIX, SOCK_STREAM, 7), EPROTONOSUPPORT);
  result("bind", bind(server, (void *)&name, sizeof name), 0);
  result("makes a file", stat("socket", &st), 0);
  truth("that is a socket", S_ISSOCK(st.st_mode));
  fails("open of a socket file", open("socket", O_RDONLY), ENXIO);
  int other = socket(AF_UNIX, SOCK_STREAM, 0);
  fails("bind over a file", bind(other, (void *)&name, sizeof name), EADDRINUSE);
  fails("connect before listen", connect(other, (void *)&name, sizeof name), ECONNREFUSED);
  struct sockaddr_un missing = named("missing");
  fails("connect to a missing file", connect(other, (void *)&missing, sizeof missing), ENOENT);
  result("listen", listen(server, 5), 0);
  result("connect", connect(other, (void *)&name, sizeof name), 0);
  size = sizeof peer;
  int accepted = (int)works("accept", accept(server, (void *)&peer, &size));
  truth("an unnamed peer", size == sizeof(sa_family_t) && peer.sun_family == AF_UNIX);
  size = sizeof peer;
  memset(&peer, 0, sizeof peer);
  getpeername(other, (void *)&peer, &size);
  same_text("getpeername", peer.sun_path, "socket");
  result("its size", size, offsetof(struct sockaddr_un, sun_path) + 7);
  struct ucred credentials;
  size = sizeof credentials;
  result("SO_PEERCRED", getsockopt(other, SOL_SOCKET, SO_PEERCRED, &credentials, &size), 0);
  truth("tells pid and user", credentials.pid == getpid() && credentials.uid == getuid());
  result("send", send(other, "stream", 6, 0), 6);
  send(other, " bytes", 6, 0);
  memset(text, 0, sizeof text);
  result("a stream has no message borders", recv(accepted, text, sizeof text, 0), 12);
  same_text("its bytes", text, "stream bytes");
  fails("connect again", connect(other, (void *)&name, sizeof name), EISCONN);
  close(other);
  result("the end", recv(accepted, text, 1, 0), 0);
  fails("a write to a closed peer", send(accepted, "x", 1, 0), EPIPE);
  close(accepted);
  close(server);
  other = socket(AF_UNIX, SOCK_STREAM, 0);
  fails("connect to a file whose listener is gone", connect(other, (void *)&name, sizeof name), ECONNREFUSED);
  close(other);
  unlink("socket");

  struct sockaddr_un abstract = {.sun_family = AF_UNIX};
  int length = snprintf(abstract.sun_path + 1, 100, "guest-test-%d", getpid());
  socklen_t abstract_size = offsetof(struct sockaddr_un, sun_path) + 1 + length;
  server = socket(AF_UNIX, SOCK_STREAM, 0);
  result("bind an abstract name", bind(server, (void *)&abstract, abstract_size), 0);
  listen(server, 1);
  other = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
  result("connect to it", connect(other, (void *)&abstract, abstract_size), 0);
  size = sizeof peer;
  getpeername(other, (void *)&peer, &size);
  truth("is told", size == abstract_size && memcmp(peer.sun_path, abstract.sun_path, 1 + length) == 0);
  close(other);
  close(server);

  int s[2];
  result("socketpair", socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
  result("SOCK_CLOEXEC", fcntl(s[0], F_GETFD), FD_CLOEXEC);
  fails("socketpair of the internet", socketpair(AF_INET, SOCK_STREAM, 0, (int[2]){0, 0}), EOPNOTSUPP);
  write(s[0], "abc", 3);
  int waiting = 0;
  ioctl(s[1], FIONREAD, &waiting);
  result("FIONREAD", waiting, 3);
  result("MSG_PEEK", recv(s[1], text, 2, MSG_PEEK), 2);
  result("read", read(s[1], text, sizeof text), 3);
  fails("a nonblocking read", recv(s[1], text, 1, MSG_DONTWAIT), EAGAIN);
  int p[2];
  pipe(p);
  result("SCM_RIGHTS", send_fds(s[0], (int[]){p[1], p[0]}, 2), 1);
  int got[4];
  result("two descriptors arrive", receive_fds(s[1], got, 4, 0), 2);
  truth("with new numbers", got[0] != p[1] && got[1] != p[0] && got[0] > 2);
  write(got[0], "through", 7);
  close(got[0]);
  memset(text, 0, sizeof text);
  read(p[0], text, sizeof text);
  same_text("and work", text, "through");
  close(got[1]);
  send_fds(s[0], (int[]){p[1]}, 1);
  receive_fds(s[1], got, 1, MSG_CMSG_CLOEXEC);
  result("MSG_CMSG_CLOEXEC", fcntl(got[0], F_GETFD), FD_CLOEXEC);
  close(got[0]);
  fails("sending a bad descriptor", send_fds(s[0], (int[]){BAD_FD}, 1), EBADF);
  send_fds(s[0], (int[]){p[1]}, 1);
  close(p[1]);
  receive_fds(s[1], got, 1, 0);
  result("a descriptor closed on its way", write(got[0], "alive", 5), 5);
  close(got[0]);
  close(p[0]);
  pipe(p);
  pid_t child = fork();
  if (child == 0) {
    close(p[0]);
    close(p[1]);
    int fd[1];
    if (receive_fds(s[1], fd, 1, 0) != 1) _exit(1);
    _exit(write(fd[0], "child", 5) == 5 ? 0 : 2);
  }
  send_fds(s[0], &p[1], 1);
  close(p[1]);
  int status = 0;
  waitpid(child, &status, 0);
  result("a descriptor for another process", status, 0);
  memset(text, 0, sizeof text);
  read(p[0], text, sizeof text);
  same_text("that used it", text, "child");
  close(p[0]);
  result("half-close", shutdown(s[0], SHUT_WR), 0);
  result("the end", read(s[1], text, 1), 0);
  result("and back", write(s[1], "b", 1), 1);
  result("arrives", read(s[0], text, 1), 1);
  close(s[0]);
  close(s[1]);

  struct sockaddr_un to = named("to"), from = named("from");
  int a = socket(AF_UNIX, SOCK_DGRAM, 0), b = socket(AF_UNIX, SOCK_DGRAM, 0);
  bind(a, (void *)&to, sizeof to);
  bind(b, (void *)&from, sizeof from);
  result("a datagram", sendto(b, "one", 3, 0, (void *)&to, sizeof to), 3);
  sendto(b, "three", 5, 0, (void *)&to, sizeof to);
  size = sizeof peer;
  memset(&peer, 0, sizeof peer);
  result("keeps its border", recvfrom(a, text, sizeof text, 0, (void *)&peer, &size), 3);
  same_text("and its sender", peer.sun_path, "from");
  result("the rest of a short receive", recv(a, text, 2, 0), 2);
  fails("is lost", recv(a, text, 2, MSG_DONTWAIT), EAGAIN);
  fails("a datagram to nobody", sendto(b, "x", 1, 0, (void *)&missing, sizeof missing), ENOENT);
  fails("a datagram without an address", send(b, "x", 1, 0), ENOTCONN);
  close(a);
  fails("a datagram to a closed socket", sendto(b, "x", 1, 0, (void *)&to, sizeof to), ECONNREFUSED);
  close(b);
  unlink("to");
  unlink("from");
  socketpair(AF_UNIX, SOCK_DGRAM, 0, s);
  write(s[0], "a", 1);
  write(s[0], "bc", 2);
  result("a datagram pair", read(s[1], text, sizeof text), 1);
  result("keeps borders", read(s[1], text, sizeof text), 2);
  close(s[0]);
  close(s[1]);
  result("sequenced packets", socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s), 0);
  write(s[0], "a", 1);
  write(s[0], "bc", 2);
  result("keep borders", read(s[1], text, sizeof text), 1);
  read(s[1], text, sizeof text);
  close(s[0]);
  result("and end", read(s[1], text, sizeof text), 0);
  close(s[1]);

  socketpair(AF_UNIX, SOCK_STREAM, 0, s);
  child = fork();
  if (child == 0) {
    close(s[0]);
    static char big[400000];
    for (size_t i = 0; i < sizeof big; i++) big[i] = (char)(i % 241);
    _exit(write(s[1], big, sizeof big) == sizeof big ? 0 : 1);
  }
  close(s[1]);
  size_t at = 0;
  int right = 1;
  static char block[5000];
  for (ssize_t n; (n = read(s[0], block, sizeof block)) > 0;) for (ssize_t i = 0; i < n; i++, at++) right = right && block[i] == (char)(at % 241);
  result("a large write passes", at, 400000);
  truth("whole and in order", right);
  waitpid(child, &status, 0);
  result("the writer wrote all", status, 0);
  close(s[0]);
  leave_scratch();
  return guest_end();
}
