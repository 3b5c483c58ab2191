/* TCP and UDP on the loopback: half-close, nonblocking connect, SO_ERROR, backlog, MSG_PEEK, ephemeral ports, options. */
#include "guest.h"
#include <arpa/inet.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

static struct sockaddr_in local(int port) {
  return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}
static int port_of(int fd) {
  struct sockaddr_in name = {0};
  socklen_t size = sizeof name;
  return getsockname(fd, (void *)&name, &size) == 0 ? ntohs(name.sin_port) : -1;
}
static int option(int fd, int level, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  return getsockopt(fd, level, name, &value, &size) == 0 ? value : -errno;
}
static int listener(int *port) {
  struct sockaddr_in name = local(0);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
  bind(fd, (void *)&name, sizeof name);
  listen(fd, 8);
  *port = port_of(fd);
  return fd;
}
static void pair(int fds[2]) {
  int port, server = listener(&port);
  struct sockaddr_in name = local(port);
  fds[0] = socket(AF_INET, SOCK_STREAM, 0);
  connect(fds[0], (void *)&name, sizeof name);
  fds[1] = accept(server, NULL, NULL);
  close(server);
}
static int ready(int fd, int events, int timeout) {
  struct pollfd ask = {fd, events, 0};
  return poll(&ask, 1, timeout) == 1 ? ask.revents : 0;
}

static void streams(void) {
  struct sockaddr_in name = local(0), peer;
  socklen_t size;
  char text[64];
  int server = (int)works("socket", socket(AF_INET, SOCK_STREAM, 0));
  fails("a bad family", socket(99, SOCK_STREAM, 0), EAFNOSUPPORT);
  fails("a bad type", socket(AF_INET, 77, 0), EINVAL);
  fails("a bad protocol", socket(AF_INET, SOCK_STREAM, IPPROTO_UDP), EPROTONOSUPPORT);
  result("SO_TYPE", option(server, SOL_SOCKET, SO_TYPE), SOCK_STREAM);
  result("SO_DOMAIN", option(server, SOL_SOCKET, SO_DOMAIN), AF_INET);
  result("SO_ACCEPTCONN before listen", option(server, SOL_SOCKET, SO_ACCEPTCONN), 0);
  result("SO_REUSEADDR", setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)), 0);
  result("is told", option(server, SOL_SOCKET, SO_REUSEADDR), 1);
  result("bind to port 0", bind(server, (void *)&name, sizeof name), 0);
  int port = port_of(server);
  truth("gives an ephemeral port", port >= 1024 && port < 65536);
  fails("bind again", bind(server, (void *)&name, sizeof name), EINVAL);
  fails("accept before listen", accept(server, NULL, NULL), EINVAL);
  result("listen", listen(server, 4), 0);
  result("SO_ACCEPTCONN", option(server, SOL_SOCKET, SO_ACCEPTCONN), 1);
  int second = socket(AF_INET, SOCK_STREAM, 0);
  name = local(port);
  fails("a port in use", bind(second, (void *)&name, sizeof name), EADDRINUSE);
  fails("a bad family of an address", ({ name.sin_family = 77; bind(second, (void *)&name, sizeof name); }), EAFNOSUPPORT);
  name = local(0);
  name.sin_addr.s_addr = htonl(0x08080808);
  fails("an address of somebody else", bind(second, (void *)&name, sizeof name), EADDRNOTAVAIL);
  fails("a short address", bind(second, (void *)&name, 3), EINVAL);
  name = local(port);
  fails("a bad address pointer", bind(second, BAD_POINTER, sizeof name), EFAULT);
  fails("getpeername before connect", ({ size = sizeof peer; getpeername(second, (void *)&peer, &size); }), ENOTCONN);
  int fresh = socket(AF_INET, SOCK_STREAM, 0);
  fails("a send before connect", send(fresh, "x", 1, MSG_NOSIGNAL), EPIPE);
  fails("a receive before connect", recv(fresh, text, 1, 0), ENOTCONN);
  fails("shutdown before connect", shutdown(fresh, SHUT_WR), ENOTCONN);
  close(fresh);
  fcntl(server, F_SETFL, O_NONBLOCK);
  fails("a nonblocking accept", accept(server, NULL, NULL), EAGAIN);
  result("connect", connect(second, (void *)&name, sizeof name), 0);
  result("a listener with a connection", ready(server, POLLIN, 2000), POLLIN);
  size = sizeof peer;
  int accepted = (int)works("accept4", accept4(server, (void *)&peer, &size, SOCK_CLOEXEC | SOCK_NONBLOCK));
  truth("tells the peer", size == sizeof peer && peer.sin_addr.s_addr == htonl(INADDR_LOOPBACK) && ntohs(peer.sin_port) == port_of(second));
  truth("its flags", fcntl(accepted, F_GETFD) == FD_CLOEXEC && (fcntl(accepted, F_GETFL) & O_NONBLOCK));
  result("its own port is the listener's", port_of(accepted), port);
  size = sizeof peer;
  getpeername(second, (void *)&peer, &size);
  result("getpeername", ntohs(peer.sin_port), port);
  fails("connect again", connect(second, (void *)&name, sizeof name), EISCONN);
  fails("a nonblocking receive", recv(accepted, text, 1, 0), EAGAIN);
  result("send", send(second, "hello", 5, 0), 5);
  result("arrives", ready(accepted, POLLIN, 2000), POLLIN);
  int waiting = 0;
  ioctl(accepted, FIONREAD, &waiting);
  result("FIONREAD", waiting, 5);
  memset(text, 0, sizeof text);
  result("MSG_PEEK", recv(accepted, text, 3, MSG_PEEK), 3);
  result("leaves the bytes", recv(accepted, text, sizeof text, 0), 5);
  same_text("in order", text, "hello");
  fcntl(accepted, F_SETFL, 0);
  result("MSG_DONTWAIT", recv(accepted, text, 1, MSG_DONTWAIT), -1);
  struct iovec out[2] = {{"ab", 2}, {"cd", 2}};
  result("writev", writev(accepted, out, 2), 4);
  struct msghdr message = {.msg_iov = out, .msg_iovlen = 2};
  result("sendmsg", sendmsg(accepted, &message, 0), 4);
  memset(text, 0, sizeof text);
  result("MSG_WAITALL", recv(second, text, 8, MSG_WAITALL), 8);
  same_text("all of it", text, "abcdabcd");
  char a[3], b[8];
  struct iovec in[2] = {{a, 3}, {b, 8}};
  struct msghdr got = {.msg_iov = in, .msg_iovlen = 2};
  send(accepted, "12345", 5, 0);
  result("recvmsg", recvmsg(second, &got, 0), 5);
  truth("scattered", memcmp(a, "123", 3) == 0 && memcmp(b, "45", 2) == 0 && got.msg_flags == 0);
  fails("send from a bad pointer", send(accepted, BAD_POINTER, 10, 0), EFAULT);
  fails("recv on something else", recv(0, text, 1, 0), ENOTSOCK);
  fails("recv of a bad descriptor", recv(BAD_FD, text, 1, 0), EBADF);
  fails("lseek of a socket", lseek(second, 0, SEEK_SET), ESPIPE);

  result("half-close", shutdown(second, SHUT_WR), 0);
  result("the peer sees the end", recv(accepted, text, 1, 0), 0);
  result("POLLRDHUP", ready(accepted, POLLIN | POLLRDHUP, 1000), POLLIN | POLLRDHUP);
  fails("sending after half-close", send(second, "x", 1, MSG_NOSIGNAL), EPIPE);
  result("the other way still works", send(accepted, "back", 4, 0), 4);
  memset(text, 0, sizeof text);
  result("and arrives", recv(second, text, sizeof text, 0), 4);
  close(accepted);
  result("then that ends too", recv(second, text, 1, 0), 0);
  close(second);
  close(server);

  int fds[2];
  pair(fds);
  close(fds[1]);
  ready(fds[0], POLLIN, 2000);
  send(fds[0], "x", 1, MSG_NOSIGNAL);
  ready(fds[0], POLLHUP, 2000);
  fails("sending to a closed peer", ({ long r = 0; for (int i = 0; i < 100 && r >= 0; i++) { r = send(fds[0], "x", 1, MSG_NOSIGNAL); if (r >= 0) sleep_ms(2); } r; }), EPIPE);
  close(fds[0]);
  pair(fds);
  setsockopt(fds[1], SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
  close(fds[1]);
  fails("a peer that resets", recv(fds[0], text, 1, 0), ECONNRESET);
  close(fds[0]);

  pair(fds);
  pid_t child = fork();
  if (child == 0) {
    close(fds[0]);
    static char big[1000000];
    for (size_t i = 0; i < sizeof big; i++) big[i] = (char)(i % 251);
    size_t sent = 0;
    for (ssize_t n; sent < sizeof big && (n = send(fds[1], big + sent, sizeof big - sent, 0)) > 0;) sent += n;
    _exit(sent == sizeof big ? 0 : 1);
  }
  close(fds[1]);
  static char block[10000];
  size_t at = 0;
  int right = 1;
  for (ssize_t n; (n = recv(fds[0], block, sizeof block, 0)) > 0;) for (ssize_t i = 0; i < n; i++, at++) right = right && block[i] == (char)(at % 251);
  result("a megabyte passes", at, 1000000);
  truth("whole and in order", right);
  int status = 0;
  waitpid(child, &status, 0);
  result("the sender sent all", status, 0);
  close(fds[0]);

  pair(fds);
  fcntl(fds[0], F_SETFL, O_NONBLOCK);
  long total = 0;
  for (ssize_t n; (n = send(fds[0], block, sizeof block, 0)) > 0;) total += n;
  fails("a nonblocking sender meets its limit", send(fds[0], block, sizeof block, 0), EAGAIN);
  result("is not writable", ready(fds[0], POLLOUT, 0), 0);
  for (long rest = total; rest > 0;) {
    ssize_t n = recv(fds[1], block, sizeof block, 0);
    if (n <= 0) break;
    rest -= n;
  }
  result("and writable when the peer has read", ready(fds[0], POLLOUT, 2000), POLLOUT);
  struct timeval shortly = {0, 20000};
  result("SO_RCVTIMEO", setsockopt(fds[1], SOL_SOCKET, SO_RCVTIMEO, &shortly, sizeof shortly), 0);
  double before = now_ms();
  fails("ends a receive", recv(fds[1], text, 1, 0), EAGAIN);
  between("after its time", now_ms() - before, 15, 2000);
  close(fds[0]);
  close(fds[1]);
}

static void connecting(void) {
  int port, server = listener(&port);
  close(server);
  struct sockaddr_in name = local(port);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  fails("connect to nobody", connect(fd, (void *)&name, sizeof name), ECONNREFUSED);
  close(fd);
  fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  int r = connect(fd, (void *)&name, sizeof name);
  truth("a nonblocking connect to nobody", r == -1 && (errno == EINPROGRESS || errno == ECONNREFUSED));
  if (errno == EINPROGRESS) {
    truth("is told by poll", (ready(fd, POLLOUT, 2000) & (POLLERR | POLLHUP)) != 0);
    result("and SO_ERROR", option(fd, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
  } else {
    guest_ok("is told by poll");
    guest_ok("and SO_ERROR");
  }
  result("SO_ERROR is cleared", option(fd, SOL_SOCKET, SO_ERROR), 0);
  close(fd);
  server = listener(&port);
  name = local(port);
  fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  r = connect(fd, (void *)&name, sizeof name);
  truth("a nonblocking connect", r == 0 || errno == EINPROGRESS);
  result("becomes writable", ready(fd, POLLOUT, 2000), POLLOUT);
  result("without an error", option(fd, SOL_SOCKET, SO_ERROR), 0);
  int accepted = accept(server, NULL, NULL);
  write(fd, "x", 1);
  char byte = 0;
  read(accepted, &byte, 1);
  result("and works", byte, 'x');
  close(fd);
  close(accepted);

  int many[5], done = 0;
  for (int i = 0; i < 5; i++) {
    many[i] = socket(AF_INET, SOCK_STREAM, 0);
    done += connect(many[i], (void *)&name, sizeof name) == 0;
    send(many[i], &(char){(char)('0' + i)}, 1, 0);
  }
  result("connections wait in the backlog", done, 5);
  char order[6] = "";
  for (int i = 0; i < 5; i++) {
    accepted = accept(server, NULL, NULL);
    recv(accepted, order + i, 1, 0);
    close(accepted);
    close(many[i]);
  }
  same_text("and are accepted in order", order, "01234");
  pid_t child = fork();
  if (child == 0) {
    sleep_ms(20);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    connect(fd, (void *)&name, sizeof name);
    char got = 0;
    recv(fd, &got, 1, 0);
    _exit(got);
  }
  accepted = (int)works("a blocking accept waits", accept(server, NULL, NULL));
  send(accepted, "\x07", 1, 0);
  int status = 0;
  waitpid(child, &status, 0);
  result("for another process", status, 7 << 8);
  close(accepted);
  close(server);
  name = local(port);
  fd = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
  result("SO_REUSEADDR lets bind again at once", bind(fd, (void *)&name, sizeof name), 0);
  close(fd);
  int fds[2];
  pair(fds);
  result("TCP_NODELAY", setsockopt(fds[0], IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)), 0);
  result("is told", option(fds[0], IPPROTO_TCP, TCP_NODELAY), 1);
  result("SO_KEEPALIVE", setsockopt(fds[0], SOL_SOCKET, SO_KEEPALIVE, &(int){1}, sizeof(int)), 0);
  result("is told", option(fds[0], SOL_SOCKET, SO_KEEPALIVE), 1);
  result("TCP_KEEPIDLE", setsockopt(fds[0], IPPROTO_TCP, TCP_KEEPIDLE, &(int){100}, sizeof(int)), 0);
  result("TCP_KEEPINTVL", setsockopt(fds[0], IPPROTO_TCP, TCP_KEEPINTVL, &(int){33}, sizeof(int)), 0);
  result("TCP_KEEPCNT", setsockopt(fds[0], IPPROTO_TCP, TCP_KEEPCNT, &(int){3}, sizeof(int)), 0);
  truth("SO_SNDBUF and SO_RCVBUF", option(fds[0], SOL_SOCKET, SO_SNDBUF) > 0 && option(fds[0], SOL_SOCKET, SO_RCVBUF) > 0);
  fails("an unknown option", setsockopt(fds[0], IPPROTO_TCP, 9999, &(int){1}, sizeof(int)), ENOPROTOOPT);
  fails("a short option", setsockopt(fds[0], SOL_SOCKET, SO_KEEPALIVE, &(int){1}, 2), EINVAL);
  fails("an option of something else", setsockopt(0, SOL_SOCKET, SO_KEEPALIVE, &(int){1}, 4), ENOTSOCK);
  close(fds[0]);
  close(fds[1]);
}

/* What a connection says of its peer when it is over. */
static void endings(void) {
  struct sockaddr_in peer;
  socklen_t size = sizeof peer;
  char text[64] = "";
  int fds[2];
  pair(fds);
  shutdown(fds[1], SHUT_WR);
  recv(fds[0], text, 1, 0);
  result("a peer that sends no more is still the peer", getpeername(fds[0], (void *)&peer, &size), 0);
  result("shutdown of the other direction", shutdown(fds[0], SHUT_WR), 0);
  recv(fds[1], text, 1, 0);
  fails("then there is none", getpeername(fds[0], (void *)&peer, &size), ENOTCONN);
  fails("on either side", getpeername(fds[1], (void *)&peer, &size), ENOTCONN);
  fails("nor anything to shut down", shutdown(fds[0], SHUT_RDWR), ENOTCONN);
  result("reading finds the end", recv(fds[0], text, 1, 0), 0);
  close(fds[0]);
  close(fds[1]);

  pair(fds);
  send(fds[1], "before", 6, 0);
  setsockopt(fds[1], SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
  close(fds[1]);
  result("a reset is told", ready(fds[0], POLLHUP, 2000) & (POLLHUP | POLLERR), POLLHUP | POLLERR);
  fails("its peer is gone", getpeername(fds[0], (void *)&peer, &size), ENOTCONN);
  result("getsockname stays", getsockname(fds[0], (void *)&peer, &size), 0);
  result("bytes that came before can be read", recv(fds[0], text, sizeof text, 0), 6);
  fails("then the reset is found", recv(fds[0], text, 1, 0), ECONNRESET);
  result("and then the end", recv(fds[0], text, 1, 0), 0);
  close(fds[0]);
}

/* Interfaces can be asked for by any socket. */
static void interfaces(void) {
  unsigned index = if_nametoindex("lo");
  truth("the loopback has a number", index > 0);
  char name[IF_NAMESIZE] = "";
  truth("and by it its name", if_indextoname(index, name) != NULL && strcmp(name, "lo") == 0);
  fails("no such interface", if_nametoindex("nothing0") == 0 ? -1 : 0, ENODEV);
  struct ifreq request = {0};
  strcpy(request.ifr_name, "lo");
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  result("SIOCGIFFLAGS of a Unix socket", ioctl(fd, SIOCGIFFLAGS, &request), 0);
  truth("up and loopback", (request.ifr_flags & (IFF_UP | IFF_LOOPBACK)) == (IFF_UP | IFF_LOOPBACK));
  close(fd);
}

static void datagrams(void) {
  struct sockaddr_in name = local(0), peer;
  socklen_t size = sizeof peer;
  char text[64] = "";
  int a = socket(AF_INET, SOCK_DGRAM, 0), b = socket(AF_INET, SOCK_DGRAM, 0);
  result("bind a datagram socket", bind(a, (void *)&name, sizeof name), 0);
  name = local(port_of(a));
  result("sendto", sendto(b, "one", 3, 0, (void *)&name, sizeof name), 3);
  result("and another", sendto(b, "second", 6, 0, (void *)&name, sizeof name), 6);
  result("recvfrom", recvfrom(a, text, sizeof text, 0, (void *)&peer, &size), 3);
  truth("tells the sender", ntohs(peer.sin_port) == port_of(b) && peer.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
  result("a short receive", recv(a, text, 3, 0), 3);
  fails("drops the rest", recv(a, text, sizeof text, MSG_DONTWAIT), EAGAIN);
  sendto(b, "longer", 6, 0, (void *)&name, sizeof name);
  result("MSG_TRUNC tells the length", recv(a, text, 2, MSG_TRUNC), 6);
  sendto(b, "", 0, 0, (void *)&name, sizeof name);
  result("an empty datagram", recv(a, text, sizeof text, 0), 0);
  fails("send without an address", send(b, "x", 1, 0), EDESTADDRREQ);
  result("connect a datagram socket", connect(b, (void *)&name, sizeof name), 0);
  result("send", send(b, "sent", 4, 0), 4);
  result("arrives", recv(a, text, sizeof text, 0), 4);
  peer = local(port_of(b));
  sendto(a, "answer", 6, 0, (void *)&peer, sizeof peer);
  result("an answer", recv(b, text, sizeof text, 0), 6);
  result("readiness", ready(b, POLLIN | POLLOUT, 0), POLLOUT);
  static char huge[70000];
  fails("too long a datagram", sendto(b, huge, sizeof huge, 0, (void *)&name, sizeof name), EMSGSIZE);
  fails("listen on a datagram socket", listen(b, 1), EOPNOTSUPP);
  close(a);
  close(b);
}

static void names(void) {
  struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST}, *found = NULL;
  result("getaddrinfo of numbers", getaddrinfo("127.0.0.1", "80", &hints, &found), 0);
  truth("the address", found != NULL && ((struct sockaddr_in *)found->ai_addr)->sin_port == htons(80));
  if (found != NULL) freeaddrinfo(found);
  char text[64];
  struct in6_addr six;
  truth("inet_pton and inet_ntop", inet_pton(AF_INET6, "::ffff:1.2.3.4", &six) == 1 && inet_ntop(AF_INET6, &six, text, sizeof text) != NULL && strcmp(text, "::ffff:1.2.3.4") == 0);
}

int main(void) {
  guest_begin();
  /* Standard input may be a socket on some machines: make it one that is none. */
  int none = open("/dev/null", O_RDONLY);
  dup2(none, 0);
  signal(SIGPIPE, SIG_IGN);
  streams();
  connecting();
  endings();
  interfaces();
  datagrams();
  names();
  return guest_end();
}
