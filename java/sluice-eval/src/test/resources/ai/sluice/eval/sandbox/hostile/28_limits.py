# expected: FAILED ValueError: not allowed to raise maximum limit
import resource

resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
bytearray(3 << 30)
