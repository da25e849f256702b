# expected: TIMED_OUT timed out
import os

while True:
    for start in os.fork, os.forkpty:
        try:
            start()
        except OSError:
            pass
