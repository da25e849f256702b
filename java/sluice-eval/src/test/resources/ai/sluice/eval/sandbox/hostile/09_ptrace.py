# expected: FAILED PermissionError: 1
import ctypes

libc = ctypes.CDLL(None, use_errno=True)
if libc.ptrace(0, 0, 0, 0) == -1:
    raise PermissionError(ctypes.get_errno())
