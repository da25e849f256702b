# expected: FAILED OSError: [Errno 28] No space left on device
for number in range(100):
    with open("/tmp/%d" % number, "wb") as file:
        file.write(bytes(7 << 20))
