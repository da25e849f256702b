# expected: FAILED PermissionError: [Errno 1] Operation not permitted
import socket

socket.socket(socket.AF_INET, socket.SOCK_STREAM)
