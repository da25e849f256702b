# expected: FAILED ended with status 0 before its verdict
import os

nonce = "0" * 32
for descriptor in range(64):
    for line in "%s ready 3.11.2\n%s passed 0.001 \n" % (nonce, nonce), "passed\n", "PASSED":
        try:
            os.write(descriptor, line.encode())
        except OSError:
            pass
os._exit(0)
