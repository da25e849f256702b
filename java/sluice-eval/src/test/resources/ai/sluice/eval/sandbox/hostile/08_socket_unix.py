# expected: FAILED PermissionError: [Errno 1] Operation not permitted
import socket

socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
