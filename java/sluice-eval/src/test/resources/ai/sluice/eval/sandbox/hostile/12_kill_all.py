# expected: FAILED PermissionError: [Errno 1] Operation not permitted
import os

os.kill(-1, 9)
