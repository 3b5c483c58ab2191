/* IPv6 on the loopback: dual-stack sockets, IPV6_V6ONLY, mapped addresses, control messages; UDP-Lite. */
#include "guest.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/socket.h>

#ifndef IPPROTO_UDPLITE
#define IPPROTO_UDPLITE 136
#endif

static struct sockaddr_in6 six(const char *text, int port) {
  struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
  inet_pton(AF_INET6, text, &name.sin6_addr);
  return name;
}
static struct sockaddr_in four(const char *text, int port) {
  struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(port)};
  inet_pton(AF_INET, text, &name.sin_addr);
  return name;
}
static const char *shown(const struct sockaddr_in6 *name) {
  static char text[64];
  return name->sin6_family == AF_INET6 ? inet_ntop(AF_INET6, &name->sin6_addr, text, sizeof text) : "(another family)";
}
static struct sockaddr_in6 name_of(int fd, int peer) {
  struct sockaddr_in6 name = {0};
  socklen_t size = sizeof name;
  if (peer) getpeername(fd, (void *)&name, &size);
  else getsockname(fd, (void *)&name, &size);
  return name;
}
static int bound(int type, const char *text, int port, int only) {
  struct sockaddr_in6 name = six(text, port);
  int fd = socket(AF_INET6, type, 0);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
  if (only) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){1}, sizeof(int));
  if (bind(fd, (void *)&name, sizeof name) == 0) return fd;
  close(fd);
  return -1;
}
static int option(int fd, int level, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  return getsockopt(fd, level, name, &value, &size) == 0 ? value : -errno;
}

static void streams(void) {
  struct sockaddr_in6 name, peer;
  char text[64] = "";
  int server = bound(SOCK_STREAM, "::1", 0, 0);
  truth("bind to ::1", server >= 0);
  result("SO_DOMAIN", option(server, SOL_SOCKET, SO_DOMAIN), AF_INET6);
  listen(server, 4);
  name = name_of(server, 0);
  same_text("getsockname", shown(&name), "::1");
  int port = ntohs(name.sin6_port);
  int client = socket(AF_INET6, SOCK_STREAM, 0);
  result("connect", connect(client, (void *)&name, sizeof name), 0);
  int accepted = accept(server, NULL, NULL);
  peer = name_of(accepted, 1);
  same_text("the peer's address", shown(&peer), "::1");
  result("the peer's port", peer.sin6_port, name_of(client, 0).sin6_port);
  send(client, "six", 3, 0);
  result("bytes pass", recv(accepted, text, sizeof text, 0), 3);
  close(client);
  close(accepted);
  struct sockaddr_in other = four("127.0.0.1", port);
  client = socket(AF_INET, SOCK_STREAM, 0);
  fails("127.0.0.1 is another address", connect(client, (void *)&other, sizeof other), ECONNREFUSED);
  close(client);
  client = socket(AF_INET6, SOCK_STREAM, 0);
  fails("an address of IPv4", connect(client, (void *)&other, sizeof other), EINVAL);
  fails("a short address", connect(client, (void *)&name, 20), EINVAL);
  fails("bind to an address of somebody else", ({ peer = six("2001:db8::1", 0); bind(client, (void *)&peer, sizeof peer); }), EADDRNOTAVAIL);
  close(client);
  close(server);

  server = bound(SOCK_STREAM, "::", 0, 0);
  listen(server, 4);
  name = name_of(server, 0);
  same_text("the wildcard", shown(&name), "::");
  port = ntohs(name.sin6_port);
  client = socket(AF_INET, SOCK_STREAM, 0);
  other = four("127.0.0.1", port);
  result("IPv4 reaches it", connect(client, (void *)&other, sizeof other), 0);
  accepted = accept(server, NULL, NULL);
  peer = name_of(accepted, 1);
  same_text("as a mapped address", shown(&peer), "::ffff:127.0.0.1");
  peer = name_of(accepted, 0);
  same_text("on both sides", shown(&peer), "::ffff:127.0.0.1");
  close(client);
  close(accepted);
  client = socket(AF_INET6, SOCK_STREAM, 0);
  peer = six("::ffff:127.0.0.1", port);
  result("connect to a mapped address", connect(client, (void *)&peer, sizeof peer), 0);
  peer = name_of(client, 0);
  same_text("from one", shown(&peer), "::ffff:127.0.0.1");
  close(accept(server, NULL, NULL));
  close(client);
  fails("IPV6_V6ONLY when it is bound", setsockopt(server, IPPROTO_IPV6, IPV6_V6ONLY, &(int){1}, sizeof(int)), EINVAL);
  int second = socket(AF_INET, SOCK_STREAM, 0);
  other = four("0.0.0.0", port);
  fails("0.0.0.0 is taken too", bind(second, (void *)&other, sizeof other), EADDRINUSE);
  close(second);
  close(server);

  server = bound(SOCK_STREAM, "::", 0, 1);
  result("IPV6_V6ONLY", option(server, IPPROTO_IPV6, IPV6_V6ONLY), 1);
  listen(server, 4);
  port = ntohs(name_of(server, 0).sin6_port);
  client = socket(AF_INET, SOCK_STREAM, 0);
  other = four("127.0.0.1", port);
  fails("then IPv4 does not reach it", connect(client, (void *)&other, sizeof other), ECONNREFUSED);
  close(client);
  second = socket(AF_INET, SOCK_STREAM, 0);
  other = four("0.0.0.0", port);
  result("and has a server of its own", bind(second, (void *)&other, sizeof other), 0);
  close(second);
  close(server);
  fails("an option of IPv6 on IPv4", ({ int fd = socket(AF_INET, SOCK_STREAM, 0); int r = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){1}, sizeof(int)); close(fd); r; }), ENOPROTOOPT);
}

/* The value of a control message of recvmsg; -1 when it is not there. */
static int received(struct msghdr *message, int level, int type) {
  for (struct cmsghdr *one = CMSG_FIRSTHDR(message); one != NULL; one = CMSG_NXTHDR(message, one)) {
    if (one->cmsg_level != level || one->cmsg_type != type) continue;
    return one->cmsg_len >= CMSG_LEN(4) ? *(int *)CMSG_DATA(one) : *CMSG_DATA(one);
  }
  return -1;
}

static void datagrams(void) {
  int a = bound(SOCK_DGRAM, "::1", 0, 0), b = socket(AF_INET6, SOCK_DGRAM, 0);
  struct sockaddr_in6 name = name_of(a, 0), peer;
  socklen_t size = sizeof peer;
  char text[64];
  result("sendto", sendto(b, "one", 3, 0, (void *)&name, sizeof name), 3);
  result("recvfrom", recvfrom(a, text, sizeof text, 0, (void *)&peer, &size), 3);
  same_text("from", shown(&peer), "::1");
  result("IPV6_RECVHOPLIMIT", setsockopt(a, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &(int){1}, sizeof(int)), 0);
  result("IPV6_RECVTCLASS", setsockopt(a, IPPROTO_IPV6, IPV6_RECVTCLASS, &(int){1}, sizeof(int)), 0);
  result("IPV6_RECVPKTINFO", setsockopt(a, IPPROTO_IPV6, IPV6_RECVPKTINFO, &(int){1}, sizeof(int)), 0);

  char room[256];
  struct iovec part = {text, sizeof text};
  struct msghdr got = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
  sendto(b, "two", 3, 0, (void *)&name, sizeof name);
  result("recvmsg", recvmsg(a, &got, 0), 3);
  result("the hop limit", received(&got, IPPROTO_IPV6, IPV6_HOPLIMIT), 64);
  result("the traffic class", received(&got, IPPROTO_IPV6, IPV6_TCLASS), 0);
  struct cmsghdr *first = CMSG_FIRSTHDR(&got);
  truth("the destination comes first", first != NULL && first->cmsg_type == IPV6_PKTINFO && first->cmsg_len == CMSG_LEN(sizeof(struct in6_addr) + 4) && memcmp(CMSG_DATA(first), &name.sin6_addr, 16) == 0);

  char given[64] = {0};
  struct iovec three = {"three", 5};
  struct msghdr sent = {.msg_name = &name, .msg_namelen = sizeof name, .msg_iov = &three, .msg_iovlen = 1, .msg_control = given, .msg_controllen = CMSG_SPACE(4)};
  struct cmsghdr *one = CMSG_FIRSTHDR(&sent);
  one->cmsg_level = IPPROTO_IPV6;
  one->cmsg_type = IPV6_HOPLIMIT;
  one->cmsg_len = CMSG_LEN(4);
  *(int *)CMSG_DATA(one) = 2;
  result("sendmsg with a hop limit", sendmsg(b, &sent, 0), 5);
  got.msg_controllen = sizeof room;
  recvmsg(a, &got, 0);
  result("arrives with it", received(&got, IPPROTO_IPV6, IPV6_HOPLIMIT), 2);
  *(int *)CMSG_DATA(one) = 300;
  fails("a hop limit that is none", sendmsg(b, &sent, 0), EINVAL);

  sendto(b, "four", 4, 0, (void *)&name, sizeof name);
  setsockopt(a, IPPROTO_IPV6, IPV6_RECVPKTINFO, &(int){0}, sizeof(int));
  got.msg_controllen = CMSG_LEN(2);
  recvmsg(a, &got, 0);
  result("a control message without room is cut", got.msg_flags & MSG_CTRUNC, MSG_CTRUNC);
  result("to what fits", got.msg_controllen, CMSG_LEN(2));
  result("and says so", CMSG_FIRSTHDR(&got)->cmsg_len, CMSG_LEN(2));
  sendto(b, "five", 4, 0, (void *)&name, sizeof name);
  got.msg_controllen = 0;
  recvmsg(a, &got, 0);
  result("without any room too", got.msg_flags & MSG_CTRUNC, MSG_CTRUNC);
  close(a);
  close(b);

  a = bound(SOCK_DGRAM, "::", 0, 0);
  b = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in other = four("127.0.0.1", ntohs(name_of(a, 0).sin6_port));
  sendto(b, "v4", 2, 0, (void *)&other, sizeof other);
  size = sizeof peer;
  result("a datagram of IPv4", recvfrom(a, text, sizeof text, 0, (void *)&peer, &size), 2);
  same_text("from a mapped address", shown(&peer), "::ffff:127.0.0.1");
  result("is answered there", sendto(a, "back", 4, 0, (void *)&peer, sizeof peer), 4);
  result("and arrives", recv(b, text, sizeof text, 0), 4);
  setsockopt(b, IPPROTO_IP, IP_RECVTTL, &(int){1}, sizeof(int));
  setsockopt(b, IPPROTO_IP, IP_RECVTOS, &(int){1}, sizeof(int));
  setsockopt(b, IPPROTO_IP, IP_PKTINFO, &(int){1}, sizeof(int));
  sendto(a, "back", 4, 0, (void *)&peer, sizeof peer);
  got.msg_controllen = sizeof room;
  recvmsg(b, &got, 0);
  result("IP_RECVTTL", received(&got, IPPROTO_IP, IP_TTL), 64);
  result("IP_RECVTOS", received(&got, IPPROTO_IP, IP_TOS), 0);
  result("IP_PKTINFO", received(&got, IPPROTO_IP, IP_PKTINFO), 1);
  close(a);
  close(b);
}

static void lite(void) {
  struct sockaddr_in name = four("127.0.0.1", 0);
  socklen_t size = sizeof name;
  int a = socket(AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE), b = socket(AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE), c = socket(AF_INET, SOCK_DGRAM, 0);
  if (a < 0 && errno == EPROTONOSUPPORT) {
    /* A kernel without it: the same lines. */
    for (const char *const *line = (const char *const[]){"UDP-Lite", "bind UDP-Lite", "UDP has ports of its own", "coverage", "of a header at least", "UDP-Lite datagram", "arrives", NULL}; *line; line++) guest_ok(*line);
    return;
  }
  result("UDP-Lite", option(a, SOL_SOCKET, SO_PROTOCOL), IPPROTO_UDPLITE);
  result("bind UDP-Lite", bind(a, (void *)&name, sizeof name), 0);
  getsockname(a, (void *)&name, &size);
  result("UDP has ports of its own", bind(c, (void *)&name, sizeof name), 0);
  result("coverage", setsockopt(b, IPPROTO_UDPLITE, 10, &(int){3}, sizeof(int)), 0);
  result("of a header at least", option(b, IPPROTO_UDPLITE, 10), 8);
  char text[8];
  result("UDP-Lite datagram", sendto(b, "lite", 4, 0, (void *)&name, sizeof name), 4);
  result("arrives", recv(a, text, sizeof text, 0), 4);
  close(a);
  close(b);
  close(c);
}

int main(void) {
  guest_begin();
  streams();
  datagrams();
  lite();
  return guest_end();
}
