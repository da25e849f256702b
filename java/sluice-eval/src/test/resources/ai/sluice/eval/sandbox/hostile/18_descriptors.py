# expected: FAILED OSError: [Errno 24] Too many open files: '/dev/null'
held = [open("/dev/null") for _ in range(1000)]
