# expected: FAILED PermissionError: [Errno 1] Operation not permitted
import subprocess

subprocess.run(["/usr/bin/id"], check=True)
