# expected: FAILED OSError: [Errno 30] Read-only file system: '/usr/lib/evil.py'
open("/usr/lib/evil.py", "w")
