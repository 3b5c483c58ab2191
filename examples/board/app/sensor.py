import sys, time
sys.path.append("/cp/lib")
import cvm

with cvm.File("board", "r+") as board:
    for number in range(1, 6):
        board.write(0, b"reading %2d" % number)
        print("wrote reading", number, "- told", board.notify(), "times", flush=True)
        time.sleep(1)
