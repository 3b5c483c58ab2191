"""Counts visits in Redis, and says which cVM counted. Plain sockets: few modules to load."""
import os
import socket


def increment(key):
    """INCR in Redis's own protocol."""
    with socket.create_connection((os.environ["REDIS"], 6379), 5) as link:
        link.sendall(f"*2\r\n$4\r\nINCR\r\n${len(key)}\r\n{key}\r\n".encode())
        return int(link.recv(100)[1:])


def answer(link):
    request = link.recv(4096)
    if not request:
        return
    text = f"visit {increment('visits')}, counted by {socket.gethostname()}\n"
    print(request.split(b"\r\n")[0].decode(), "->", text, end="", flush=True)
    link.sendall(f"HTTP/1.0 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())


with socket.create_server(("", 8000)) as server:
    print("ready", flush=True)
    while True:
        link, _ = server.accept()
        with link:
            answer(link)
