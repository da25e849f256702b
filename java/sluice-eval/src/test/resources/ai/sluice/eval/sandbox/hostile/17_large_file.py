# expected: FAILED OSError: [Errno 27] File too large
with open("/tmp/large", "wb") as file:
    for _ in range(100):
        file.write(bytes(1 << 20))
