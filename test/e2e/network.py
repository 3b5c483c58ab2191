"""Runs in a cVM: clients and servers that print what they meet. First argument: what to do."""
import errno, hashlib, select, socket, struct, sys, threading, time


def name(error):
    return errno.errorcode.get(error.errno, str(error)) if isinstance(error, OSError) else type(error).__name__


def attempt(what, run):
    try:
        print(what, run(), flush=True)
    except OSError as error:
        print(what, name(error), flush=True)


def connected(address, kind=socket.SOCK_STREAM):
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    client = socket.socket(family, kind)
    client.settimeout(10)
    client.connect(address)
    return client


def everything(client):
    data = b""
    while part := client.recv(65536):
        data += part
    return data


def outbound(host, echo, reset, sink, source, nobody):
    """TCP to a server of the test: half-close, resets both ways, back-pressure both ways, errors."""
    def half():
        client = connected((host, echo))
        client.sendall(b"abc" * 100000)
        client.shutdown(socket.SHUT_WR)
        return hashlib.md5(everything(client)).hexdigest() == hashlib.md5((b"abc" * 100000)[::-1]).hexdigest()
    attempt("half-close", half)

    def reset_by_peer():
        client = connected((host, reset))
        client.sendall(b"x")
        return client.recv(10)
    attempt("reset", reset_by_peer)

    def refused():
        client = socket.socket()
        client.setblocking(False)
        poll = select.epoll()
        poll.register(client, select.EPOLLOUT | select.EPOLLET)
        first = client.connect_ex((host, nobody))
        events = poll.poll(10)
        return errno.errorcode[first], bool(events[0][1] & select.EPOLLERR), errno.errorcode[client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)]
    attempt("refused", refused)

    def established():
        client = socket.socket()
        client.setblocking(False)
        poll = select.epoll()
        poll.register(client, select.EPOLLOUT | select.EPOLLIN | select.EPOLLET)
        client.connect_ex((host, echo))
        events = poll.poll(10)[0][1]
        return events == select.EPOLLOUT, client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), client.getpeername()[1] == echo
    attempt("epoll", established)

    def pressure():
        client = connected((host, sink))
        client.setblocking(False)
        total, idle = 0, 0
        while idle < 20:
            try:
                total += client.send(b"z" * 65536)
                idle = 0
            except BlockingIOError:
                idle += 1
                time.sleep(0.02)
            if total > 64 << 20:
                return "no end"
        client.setblocking(True)
        # The server begins to read when this byte comes by another way.
        connected((host, source)).sendall(b"go")
        client.sendall(b"z" * (40_000_000 - total))
        client.shutdown(socket.SHUT_WR)
        return everything(client).decode()
    attempt("pressure", pressure)

    def slow():
        client = connected((host, source))
        client.sendall(b"send")
        time.sleep(0.3)
        digest, length = hashlib.md5(), 0
        while part := client.recv(1 << 20):
            digest.update(part)
            length += len(part)
        return length, digest.hexdigest()
    attempt("slow", slow)

    def abort():
        client = connected((host, reset))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        return "closed"
    attempt("abort", abort)


def refused(port, *addresses):
    for address in addresses:
        attempt(f"tcp {address}", lambda: connected((address, port)).recv(100))
        def datagram():
            client = connected((address, port), socket.SOCK_DGRAM)
            client.send(b"x")
            return client.recv(100)
        attempt(f"udp {address}", datagram)


def datagrams(host, echo, nobody):
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(10)
    for size in (1, 1400, 9000, 60000):
        client.sendto(b"u" * size, (host, echo))
        print("echo", len(client.recvfrom(70000)[0]), flush=True)
    client.sendto(b"again", (host, echo))
    data, peer = client.recvfrom(100)
    print(data.decode(), peer[1] == echo, flush=True)
    def unreachable():
        lonely = connected((host, nobody), socket.SOCK_DGRAM)
        lonely.send(b"x")
        return lonely.recv(10)
    attempt("unreachable", unreachable)


def resolve(*names):
    for one in names:
        def answer():
            found = socket.getaddrinfo(one, 80, type=socket.SOCK_STREAM)
            return sorted(set(entry[4][0] for entry in found))
        attempt(one, answer)
    attempt("reverse", lambda: socket.gethostbyaddr("192.0.2.7")[0])


def serve(kind, port):
    """Says to streams and datagrams who they came from."""
    family = socket.AF_INET if kind == "four" else socket.AF_INET6
    def open_(type):
        server = socket.socket(family, type)
        if family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1 if kind == "six" else 0)
        server.bind(("", port))
        return server
    datagram, stream = open_(socket.SOCK_DGRAM), open_(socket.SOCK_STREAM)
    stream.listen(5)
    def answer():
        while True:
            data, peer = datagram.recvfrom(70000)
            datagram.sendto(f"{peer[0]} {len(data)}".encode(), peer)
    threading.Thread(target=answer, daemon=True).start()
    print("ready", flush=True)
    while True:
        client, peer = stream.accept()
        client.sendall(peer[0].encode())
        client.close()


def ask(port, *hosts):
    for host in hosts:
        for family, version in ((socket.AF_INET, 4), (socket.AF_INET6, 6)):
            def address():
                return socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)[0][4][:2]
            attempt(f"tcp {version} {host}", lambda: everything(connected(address())).decode())
            def datagram():
                client = connected(address(), socket.SOCK_DGRAM)
                client.send(b"hello")
                return client.recv(100).decode()
            attempt(f"udp {version} {host}", datagram)


arguments = [int(one) if one.isdigit() else one for one in sys.argv[2:]]
globals()[sys.argv[1]](*arguments)
