# expected: FAILED more than 4096 bytes where its verdict goes
import os

while True:
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, b"passed\n" * 100)
        except OSError:
            pass
