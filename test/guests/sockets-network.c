/* Sockets on an address that others can reach: streams and datagrams to itself, arrays of messages, options, flags. */
#include "guest.h"
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

static struct sockaddr_in own;
static struct sockaddr_in6 own6;
static int has6;

static int option(int fd, int level, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  return getsockopt(fd, level, name, &value, &size) == 0 ? value : -errno;
}
static int set(int fd, int level, int name, int value) { return setsockopt(fd, level, name, &value, sizeof value); }

static void interfaces(void) {
  struct ifaddrs *all, *one;
  int loopback = 0, loopback6 = 0, up = 0;
  result("getifaddrs", getifaddrs(&all), 0);
  for (one = all; one; one = one->ifa_next) {
    if (!one->ifa_addr) continue;
    int lo = (one->ifa_flags & IFF_LOOPBACK) != 0;
    if (one->ifa_addr->sa_family == AF_INET && lo) loopback = 1;
    if (one->ifa_addr->sa_family == AF_INET6 && lo) loopback6 = 1;
    if (one->ifa_addr->sa_family == AF_INET && !lo && !up) {
      own = *(struct sockaddr_in *)one->ifa_addr;
      up = (one->ifa_flags & (IFF_UP | IFF_RUNNING)) == (IFF_UP | IFF_RUNNING) && one->ifa_netmask && if_nametoindex(one->ifa_name) > 1;
    }
    if (one->ifa_addr->sa_family == AF_INET6 && !lo && !has6 && !IN6_IS_ADDR_LINKLOCAL(&((struct sockaddr_in6 *)one->ifa_addr)->sin6_addr)) {
      own6 = *(struct sockaddr_in6 *)one->ifa_addr;
      has6 = 1;
    }
  }
  truth("127.0.0.1", loopback);
  truth("::1", loopback6 || !has6);
  truth("another address, of an interface that is up", up);
  freeifaddrs(all);
}

/* A stream to an own address; both ends have it. A machine without such an address of IPv6 says the same. */
static void stream_to(const char *what, int family, struct sockaddr *name, socklen_t size) {
  struct sockaddr_storage peer;
  socklen_t length = sizeof peer;
  int server = socket(family, SOCK_STREAM, 0), client = socket(family, SOCK_STREAM, 0);
  int right = bind(server, name, size) == 0 && listen(server, 4) == 0;
  getsockname(server, name, &size);
  right = right && connect(client, name, size) == 0;
  int accepted = accept(server, (void *)&peer, &length);
  right = right && accepted >= 0 && length == size;
  if (family == AF_INET) right = right && ((struct sockaddr_in *)&peer)->sin_addr.s_addr == own.sin_addr.s_addr;
  else right = right && memcmp(&((struct sockaddr_in6 *)&peer)->sin6_addr, &own6.sin6_addr, 16) == 0;
  char text[8] = "";
  right = right && write(client, "hello", 5) == 5 && shutdown(client, SHUT_WR) == 0;
  right = right && recv(accepted, text, 8, MSG_WAITALL) == 5 && memcmp(text, "hello", 5) == 0 && read(accepted, text, 8) == 0;
  right = right && write(accepted, "bye", 3) == 3 && read(client, text, 8) == 3;
  truth(what, right || (family == AF_INET6 && !has6));
  close(client), close(accepted), close(server);
}

static void datagrams(void) {
  struct sockaddr_in name = own, from;
  socklen_t size = sizeof name, length = sizeof from;
  char text[16];
  int server = socket(AF_INET, SOCK_DGRAM, 0), client = socket(AF_INET, SOCK_DGRAM, 0);
  name.sin_port = 0;
  result("bind", bind(server, (void *)&name, sizeof name), 0);
  getsockname(server, (void *)&name, &size);
  result("sendto", sendto(client, "0123456789", 10, 0, (void *)&name, sizeof name), 10);
  result("MSG_PEEK|MSG_TRUNC", recv(server, text, 4, MSG_PEEK | MSG_TRUNC), 10);
  result("MSG_PEEK", recv(server, text, 4, MSG_PEEK), 4);
  result("MSG_TRUNC", recvfrom(server, text, 4, MSG_TRUNC, (void *)&from, &length), 10);
  truth("from the own address", from.sin_addr.s_addr == own.sin_addr.s_addr);
  fails("MSG_DONTWAIT", recv(server, text, 4, MSG_DONTWAIT), EAGAIN);
  struct timeval short_time = {.tv_usec = 20000};
  setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &short_time, sizeof short_time);
  fails("SO_RCVTIMEO", recv(server, text, 4, 0), EAGAIN);
  result("an empty datagram", sendto(client, "", 0, 0, (void *)&name, sizeof name), 0);
  result("is received", recv(server, text, 4, 0), 0);
  result("connect", connect(client, (void *)&name, sizeof name), 0);
  result("IP_MTU", option(client, IPPROTO_IP, IP_MTU) >= 1280, 1);
  close(server);
  result("send to nobody", send(client, "x", 1, 0), 1);
  struct pollfd entry = {.fd = client, .events = POLLIN};
  result("poll", poll(&entry, 1, 2000), 1);
  truth("POLLERR", (entry.revents & POLLERR) != 0);
  result("SO_ERROR", option(client, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
  result("SO_ERROR again", option(client, SOL_SOCKET, SO_ERROR), 0);
  close(client);
}

static int late_fd;
static void *late(void *unused) {
  usleep(30000);
  send(late_fd, "three", 5, 0);
  return unused;
}

static void arrays(void) {
  struct sockaddr_in name = own;
  socklen_t size = sizeof name;
  char texts[4][8];
  struct iovec vectors[4];
  struct mmsghdr messages[4];
  struct timespec none = {0}, wrong = {.tv_nsec = -1};
  pthread_t thread;
  int server = socket(AF_INET, SOCK_DGRAM, 0), client = socket(AF_INET, SOCK_DGRAM, 0);
  name.sin_port = 0;
  bind(server, (void *)&name, sizeof name);
  getsockname(server, (void *)&name, &size);
  connect(client, (void *)&name, sizeof name);
  memset(messages, 0, sizeof messages);
  for (int i = 0; i < 4; i++) {
    vectors[i] = (struct iovec){.iov_base = i == 0 ? "one" : "two", .iov_len = 3};
    messages[i].msg_hdr.msg_iov = &vectors[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  result("sendmmsg", sendmmsg(client, messages, 2, 0), 2);
  result("its first length", messages[0].msg_len, 3);
  for (int i = 0; i < 4; i++) vectors[i] = (struct iovec){.iov_base = texts[i], .iov_len = sizeof texts[i]};
  late_fd = client;
  pthread_create(&thread, 0, late, 0);
  result("recvmmsg waits for all", recvmmsg(server, messages, 3, 0, 0), 3);
  pthread_join(thread, 0);
  truth("the last one", messages[2].msg_len == 5 && memcmp(texts[2], "three", 5) == 0);
  send(client, "x", 1, 0);
  result("MSG_WAITFORONE", recvmmsg(server, messages, 3, MSG_WAITFORONE, 0), 1);
  send(client, "x", 1, 0);
  result("a time-out that is over", recvmmsg(server, messages, 3, 0, &none), 1);
  fails("a wrong time-out", recvmmsg(server, messages, 3, 0, &wrong), EINVAL);
  fails("MSG_DONTWAIT", recvmmsg(server, messages, 3, MSG_DONTWAIT, 0), EAGAIN);
  send(client, "x", 1, 0);
  result("MSG_DONTWAIT with one there", recvmmsg(server, messages, 3, MSG_DONTWAIT, 0), 1);
  close(server), close(client);
}

static void options(void) {
  int stream = socket(AF_INET, SOCK_STREAM, 0), datagram = socket(AF_INET, SOCK_DGRAM, 0);
  static const struct { int level, name; } flags[] = {
    {SOL_SOCKET, SO_KEEPALIVE}, {SOL_SOCKET, SO_REUSEADDR}, {SOL_SOCKET, SO_REUSEPORT}, {SOL_SOCKET, SO_OOBINLINE},
    {SOL_SOCKET, SO_LOCK_FILTER}, {SOL_SOCKET, SO_NOFCS}, {SOL_SOCKET, SO_SELECT_ERR_QUEUE},
    {IPPROTO_TCP, TCP_NODELAY}, {IPPROTO_TCP, TCP_CORK}, {IPPROTO_IP, IP_RECVERR}, {IPPROTO_IP, IP_FREEBIND},
    {IPPROTO_IP, IP_TRANSPARENT}, {IPPROTO_IP, IP_RECVORIGDSTADDR}, {IPPROTO_IP, IP_RETOPTS}, {IPPROTO_IP, IP_PKTINFO},
  };
  for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++) {
    char what[32];
    snprintf(what, sizeof what, "flag %d,%d", flags[i].level, flags[i].name);
    truth(what, option(stream, flags[i].level, flags[i].name) == 0 && set(stream, flags[i].level, flags[i].name, 7) == 0 &&
                  option(stream, flags[i].level, flags[i].name) == 1);
  }
  result("IP_MINTTL", set(stream, IPPROTO_IP, IP_MINTTL, 9) == 0 ? option(stream, IPPROTO_IP, IP_MINTTL) : -1, 9);
  fails("IP_MINTTL of 256", set(stream, IPPROTO_IP, IP_MINTTL, 256), EINVAL);
  result("IP_MTU without a peer", option(stream, IPPROTO_IP, IP_MTU), -ENOTCONN);
  unsigned long long cookie = 0, other = 0;
  socklen_t size = sizeof cookie;
  result("SO_COOKIE", getsockopt(stream, SOL_SOCKET, SO_COOKIE, &cookie, &size), 0);
  getsockopt(datagram, SOL_SOCKET, SO_COOKIE, &other, &size);
  truth("is different for each", cookie != 0 && cookie != other);
  fails("SO_BINDTODEVICE of none", setsockopt(stream, SOL_SOCKET, SO_BINDTODEVICE, "none9", 5), ENODEV);
  result("SO_BINDTODEVICE", setsockopt(stream, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3), 0);
  fails("an option that is not there", set(stream, SOL_SOCKET, 9999, 1), ENOPROTOOPT);
  fails("one of TCP on a datagram socket", set(datagram, IPPROTO_TCP, TCP_NODELAY, 1), ENOPROTOOPT);
  fails("less than an int", setsockopt(stream, SOL_SOCKET, SO_KEEPALIVE, "\1", 1), EINVAL);
  close(stream), close(datagram);
}

/* Lines of a file of /proc/net with this local address and state; -1 without the file. */
static int listed(const char *path, const char *address, int port, int state) {
  char line[512], wanted[128];
  int count = 0;
  FILE *file = fopen(path, "r");
  if (!file) return -1;
  snprintf(wanted, sizeof wanted, "%s:%04X", address, port);
  while (fgets(line, sizeof line, file)) {
    char local[128], remote[128];
    unsigned got, number;
    if (sscanf(line, " %u: %127s %127s %X", &number, local, remote, &got) != 4) continue;
    if (strcmp(local, wanted) == 0 && got == (unsigned)state) count++;
  }
  fclose(file);
  return count;
}
static int mentions(const char *path, const char *text) {
  char line[512];
  int found = 0;
  FILE *file = fopen(path, "r");
  while (file && fgets(line, sizeof line, file)) found |= strstr(line, text) != 0;
  if (file) fclose(file);
  return found;
}

static void tables(void) {
  struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct sockaddr_in6 any = {.sin6_family = AF_INET6};
  socklen_t size = sizeof name;
  int server = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0), datagram = socket(AF_INET6, SOCK_DGRAM, 0);
  bind(server, (void *)&name, sizeof name);
  listen(server, 4);
  getsockname(server, (void *)&name, &size);
  int port = ntohs(name.sin_port);
  result("/proc/net/tcp: listening", listed("/proc/net/tcp", "0100007F", port, 10), 1);
  connect(client, (void *)&name, sizeof name);
  int accepted = accept(server, 0, 0);
  result("established", listed("/proc/net/tcp", "0100007F", port, 1), 1);
  shutdown(client, SHUT_WR);
  char text[4];
  result("end", read(accepted, text, 4), 0);
  result("waits for close", listed("/proc/net/tcp", "0100007F", port, 8), 1);
  close(accepted), close(client), close(server);
  result("gone", listed("/proc/net/tcp", "0100007F", port, 10), 0);
  bind(datagram, (void *)&any, sizeof any);
  size = sizeof any;
  getsockname(datagram, (void *)&any, &size);
  result("/proc/net/udp6", listed("/proc/net/udp6", "00000000000000000000000000000000", ntohs(any.sin6_port), 7), 1);
  close(datagram);
  truth("/proc/net/dev", mentions("/proc/net/dev", " lo:"));
  truth("/proc/net/if_inet6", mentions("/proc/net/if_inet6", "00000000000000000000000000000001 01 80 10 80       lo") || !has6);
  truth("/proc/net/route", mentions("/proc/net/route", "Destination"));
}

int main(void) {
  guest_begin();
  interfaces();
  struct sockaddr_in name = own;
  struct sockaddr_in6 name6 = own6;
  name.sin_port = name6.sin6_port = 0;
  stream_to("a stream to the own address", AF_INET, (void *)&name, sizeof name);
  stream_to("a stream to the own address of IPv6", AF_INET6, (void *)&name6, sizeof name6);
  datagrams();
  arrays();
  options();
  tables();
  return guest_end();
}
