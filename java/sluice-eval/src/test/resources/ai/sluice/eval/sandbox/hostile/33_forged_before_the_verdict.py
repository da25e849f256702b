# expected: FAILED ended with status 0 before its verdict
import os

for descriptor in range(3, 64):
    try:
        os.write(descriptor, b"0" * 32 + b" passed 0.001 \n")
    except OSError:
        pass
assert False
