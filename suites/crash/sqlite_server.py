"""Databases of SQLite with synchronous=FULL, served over TCP: one line per request, answered when it is committed.

sqlite_server.py PORT MODE=PATH...
  N        a connection's first line: which database
  check    answers the number of the last transaction, and what is wrong
  NUMBER   a transaction of that number; answers the number

It starts hundreds of times: modules in C only, since those in Python take seconds to load on a host that has just started.
"""

import os
import sys

import _socket
import _sqlite3
import _thread

KEPT = 200


def content(number):
    length = 20 + (number * 7919) % 1500
    start = f"{number}:"
    return (start + f"{number}." * length)[:length]


class Database:
    def __init__(self, mode, path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self.lock = _thread.allocate_lock()
        self.link = _sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        (now,) = self.link.execute(f"PRAGMA journal_mode={mode}").fetchone()
        self.problems = [] if now == mode else [f"the journal's mode is {now}, not {mode}"]
        self.link.execute("PRAGMA synchronous=FULL")
        self.link.execute("BEGIN IMMEDIATE")
        self.link.execute("CREATE TABLE IF NOT EXISTS log(number INTEGER PRIMARY KEY)")
        self.link.execute("CREATE TABLE IF NOT EXISTS data(number INTEGER PRIMARY KEY, body TEXT)")
        self.link.execute("CREATE INDEX IF NOT EXISTS bodies ON data(body)")
        self.link.execute("CREATE TABLE IF NOT EXISTS total(count INTEGER, sum INTEGER)")
        self.link.execute("INSERT INTO total SELECT 0, 0 WHERE NOT EXISTS (SELECT 1 FROM total)")
        self.link.execute("COMMIT")

    def put(self, number):
        run = self.link.execute
        run("BEGIN IMMEDIATE")
        run("INSERT INTO log VALUES(?)", (number,))
        run("INSERT INTO data VALUES(?, ?)", (number, content(number)))
        run("UPDATE total SET count = count + 1, sum = sum + ?", (number,))
        run("DELETE FROM data WHERE number <= ?", (number - KEPT,))
        run("COMMIT")

    def check(self):
        run = self.link.execute
        problems = list(self.problems)
        whole = [row[0] for row in run("PRAGMA integrity_check")]
        if whole != ["ok"]:
            problems.append("integrity_check: " + "; ".join(whole[:3]))
        count, total, last = run("SELECT count(*), coalesce(sum(number), 0), coalesce(max(number), 0) FROM log").fetchone()
        if count != last:
            problems.append(f"{count} transactions of {last}")
        if run("SELECT count, sum FROM total").fetchall() != [(count, total)]:
            problems.append("the sums are of other transactions")
        kept = run("SELECT number, body FROM data ORDER BY number").fetchall()
        if kept != [(number, content(number)) for number in range(max(1, last - KEPT + 1), last + 1)]:
            problems.append("the contents are of other transactions")
        return f"{last} {'; '.join(problems)}"


def lines(connection):
    rest = b""
    while received := connection.recv(4096):
        *whole, rest = (rest + received).split(b"\n")
        yield from whole


def serve(connection, databases):
    try:
        requests = lines(connection)
        database = databases[int(next(requests))]
        for line in requests:
            with database.lock:
                if line == b"check":
                    answer = database.check()
                else:
                    database.put(int(line))
                    answer = line.decode()
            connection.send(answer.encode() + b"\n")
    except (OSError, ValueError, StopIteration):
        pass
    connection.close()


databases = [Database(*argument.split("=", 1)) for argument in sys.argv[2:]]
listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
listener.bind(("", int(sys.argv[1])))
listener.listen(50)
while True:
    client = _socket.socket(fileno=listener._accept()[0])
    client.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
    _thread.start_new_thread(serve, (client, databases))
