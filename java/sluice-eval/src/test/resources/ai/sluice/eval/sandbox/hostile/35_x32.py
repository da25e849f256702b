# expected: FAILED
# A call number of the x32 ABI: getpid there, and nothing that other architectures know.
import ctypes

if ctypes.CDLL(None).syscall(0x40000000 + 39) != -1:
    raise SystemExit("it answered")
raise AssertionError("no such call")
