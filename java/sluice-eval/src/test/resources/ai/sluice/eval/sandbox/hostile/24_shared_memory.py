# expected: FAILED OSError: [Errno 30] Read-only file system: '/dev/shm/x'
open("/dev/shm/x", "wb")
