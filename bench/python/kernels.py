"""Kernels in Python: kernels.py NAME [SECONDS [WARM-UP]]. Prints what bench/kernels/kernel.h says."""

import json
import sys
import time


def fib():
    def number(n):
        return n if n < 2 else number(n - 1) + number(n - 2)

    return number(24)


def loop():
    total = 0
    for step in range(1000000):
        total = (total + step * 3) & 0xFFFFFF
    return total


def records():
    state = 7
    rows = []
    for row in range(300):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        rows.append(
            {
                "id": row,
                "name": "row %d" % state,
                "tags": ["a", "b", str(state % 10)],
                "position": {"x": state % 1000 / 8, "y": -row / 4},
                "open": state % 2 == 0,
                "parent": None,
            }
        )
    return rows


ROWS = records()


def json_both_ways():
    total = 0
    for _ in range(4):
        text = json.dumps(ROWS)
        again = json.loads(text)
        total = (total * 31 + len(text) + again[-1]["id"]) & 0xFFFFFFFF
    return total


def dictionaries():
    table = {}
    state = 1
    for step in range(40000):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        key = state % 5000
        if state & 0x10000:
            table[key] = table.get(key, 0) + step
        elif key in table:
            del table[key]
    return sum(key ^ value for key, value in table.items()) & 0xFFFFFFFF


def texts():
    words = [("word%d" % (number * 7919 % 1000)).upper() for number in range(3000)]
    total = 0
    for _ in range(4):
        line = " ".join(words)
        for word in line.lower().replace("word", "w-").split(" "):
            head, _, tail = word.partition("-")
            total = (total * 33 + int(tail) + len(head)) & 0xFFFFFFFF
        total += line.count("WORD7") + line.find("WORD999")
    return total & 0xFFFFFFFF


KERNELS = {"fib": fib, "loop": loop, "json": json_both_ways, "dict": dictionaries, "str": texts}


def main():
    run = KERNELS[sys.argv[1]]
    length = float(sys.argv[2]) if len(sys.argv) > 2 else 1
    warm_up = float(sys.argv[3]) if len(sys.argv) > 3 else 0.5
    start = time.monotonic()
    first = run()
    while time.monotonic() - start < warm_up:
        assert run() == first
    print("begin", flush=True)
    runs = 0
    cpu = time.process_time()
    start = time.monotonic()
    while True:
        assert run() == first, "two runs differ"
        runs += 1
        elapsed = time.monotonic() - start
        if elapsed >= length:
            break
    cpu = time.process_time() - cpu
    print(
        "result work=%.9g unit=runs/s runs=%d seconds=%.6f cpu=%.6f checksum=%016x"
        % (runs / elapsed, runs, elapsed, cpu, first)
    )


main()
