# expected: FAILED PermissionError: [Errno 1] Operation not permitted
import os

if os.fork() == 0:
    os._exit(0)
