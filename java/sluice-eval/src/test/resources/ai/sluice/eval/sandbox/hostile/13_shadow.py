# expected: FAILED FileNotFoundError: [Errno 2] No such file or directory: '/etc/shadow'
open("/etc/shadow").read()
