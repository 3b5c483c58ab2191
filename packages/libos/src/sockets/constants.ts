/** Numbers of Linux (asm-generic) for sockets. */
export const AF = { UNSPEC: 0, UNIX: 1, INET: 2, INET6: 10, NETLINK: 16 } as const;
export const SOCK = { STREAM: 1, DGRAM: 2, RAW: 3, SEQPACKET: 5, TYPE_MASK: 0xf, NONBLOCK: 0o4000, CLOEXEC: 0o2000000 } as const;
export const IPPROTO = { IP: 0, TCP: 6, UDP: 17, UDPLITE: 136 } as const;
export const MSG = {
  OOB: 1,
  PEEK: 2,
  DONTROUTE: 4,
  CTRUNC: 8,
  TRUNC: 0x20,
  DONTWAIT: 0x40,
  EOR: 0x80,
  WAITALL: 0x100,
  ERRQUEUE: 0x2000,
  NOSIGNAL: 0x4000,
  MORE: 0x8000,
  WAITFORONE: 0x10000,
  CMSG_CLOEXEC: 0x40000000,
} as const;
export const SHUT = { RD: 0, WR: 1, RDWR: 2 } as const;

export const SOL = { IP: 0, SOCKET: 1, TCP: 6, UDP: 17, IPV6: 41, UDPLITE: 136, NETLINK: 270 } as const;
export const SO = {
  DEBUG: 1,
  REUSEADDR: 2,
  TYPE: 3,
  ERROR: 4,
  DONTROUTE: 5,
  BROADCAST: 6,
  SNDBUF: 7,
  RCVBUF: 8,
  KEEPALIVE: 9,
  OOBINLINE: 10,
  NO_CHECK: 11,
  PRIORITY: 12,
  BSDCOMPAT: 14,
  LINGER: 13,
  REUSEPORT: 15,
  PASSCRED: 16,
  PEERCRED: 17,
  RCVLOWAT: 18,
  SNDLOWAT: 19,
  RCVTIMEO: 20,
  SNDTIMEO: 21,
  BINDTODEVICE: 25,
  PEERNAME: 28,
  TIMESTAMP: 29,
  ACCEPTCONN: 30,
  SNDBUFFORCE: 32,
  RCVBUFFORCE: 33,
  TIMESTAMPNS: 35,
  MARK: 36,
  PROTOCOL: 38,
  DOMAIN: 39,
  RXQ_OVFL: 40,
  NOFCS: 43,
  LOCK_FILTER: 44,
  SELECT_ERR_QUEUE: 45,
  BUSY_POLL: 46,
  MAX_PACING_RATE: 47,
  INCOMING_CPU: 49,
  INCOMING_NAPI_ID: 56,
  COOKIE: 57,
  PREFER_BUSY_POLL: 69,
  RCVTIMEO_NEW: 66,
  SNDTIMEO_NEW: 67,
} as const;
export const TCP = {
  NODELAY: 1,
  MAXSEG: 2,
  CORK: 3,
  KEEPIDLE: 4,
  KEEPINTVL: 5,
  KEEPCNT: 6,
  SYNCNT: 7,
  LINGER2: 8,
  DEFER_ACCEPT: 9,
  WINDOW_CLAMP: 10,
  INFO: 11,
  QUICKACK: 12,
  CONGESTION: 13,
  USER_TIMEOUT: 18,
  FASTOPEN: 23,
  NOTSENT_LOWAT: 25,
  FASTOPEN_CONNECT: 30,
} as const;
export const IP = {
  TOS: 1,
  TTL: 2,
  OPTIONS: 4,
  RECVOPTS: 6,
  RETOPTS: 7,
  PKTINFO: 8,
  MTU_DISCOVER: 10,
  RECVERR: 11,
  RECVTTL: 12,
  RECVTOS: 13,
  MTU: 14,
  FREEBIND: 15,
  PASSSEC: 18,
  TRANSPARENT: 19,
  RECVORIGDSTADDR: 20,
  MINTTL: 21,
  CHECKSUM: 23,
  BIND_ADDRESS_NO_PORT: 24,
  MULTICAST_IF: 32,
  MULTICAST_TTL: 33,
  MULTICAST_LOOP: 34,
  ADD_MEMBERSHIP: 35,
  DROP_MEMBERSHIP: 36,
  MULTICAST_ALL: 49,
  LOCAL_PORT_RANGE: 51,
} as const;

export const IPV6 = {
  MULTICAST_IF: 17,
  UNICAST_HOPS: 16,
  MULTICAST_HOPS: 18,
  MULTICAST_LOOP: 19,
  MTU_DISCOVER: 23,
  MTU: 24,
  RECVERR: 25,
  V6ONLY: 26,
  RECVPKTINFO: 49,
  PKTINFO: 50,
  RECVHOPLIMIT: 51,
  HOPLIMIT: 52,
  RECVHOPOPTS: 53,
  RECVRTHDR: 56,
  RECVDSTOPTS: 58,
  DONTFRAG: 62,
  RECVTCLASS: 66,
  TCLASS: 67,
  FREEBIND: 78,
} as const;
/** How much of a datagram UDP-Lite covers by its checksum: udplite(7). */
export const UDPLITE = { SEND_CSCOV: 10, RECV_CSCOV: 11 } as const;

/** Control messages of SOL_SOCKET. */
export const SCM = { RIGHTS: 1, CREDENTIALS: 2 } as const;

export const FIONREAD = 0x541b;
export const TIOCOUTQ = 0x5411;

/** net.core.somaxconn: the longest backlog. */
export const SOMAXCONN = 4096;
/** net.ipv4.ip_local_port_range. */
export const EPHEMERAL = { first: 32768, last: 60999 } as const;
export const SIGPIPE = 13;
