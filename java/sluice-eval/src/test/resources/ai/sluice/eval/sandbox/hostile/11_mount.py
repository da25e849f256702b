# expected: FAILED PermissionError: 1
import ctypes

libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) == -1:
    raise PermissionError(ctypes.get_errno())
