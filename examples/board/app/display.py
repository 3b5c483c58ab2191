import sys
sys.path.append("/cp/lib")
import cvm

with cvm.File("board") as board:
    try:
        board.write(0, b"mine")
    except OSError as error:
        print("may not write:", error.strerror, flush=True)
    seen = 0
    while seen < 5:
        seen = board.wait(seen, 30)
        print("sees", board.read(0, 10).decode(), flush=True)
