# expected: FAILED OSError: [Errno 30] Read-only file system: '/x'
open("/x", "wb")
