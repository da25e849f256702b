# expected: FAILED OSError: [Errno 30] Read-only file system: '/usr/lib/python3/evil.py'
open("/usr/lib/python3/evil.py", "w")
