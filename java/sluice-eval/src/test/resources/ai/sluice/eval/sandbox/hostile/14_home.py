# expected: FAILED FileNotFoundError: [Errno 2] No such file or directory: '/root'
import os

for folder in "/home", "/root":
    try:
        print(os.listdir(folder))
    except FileNotFoundError:
        if folder == "/root":
            raise
