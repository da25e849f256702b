# expected: FAILED PermissionError: 1
import ctypes

libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(0x10000000) == -1:  # CLONE_NEWUSER
    raise PermissionError(ctypes.get_errno())
