# expected: FAILED
# The interpreter's own limit is lifted; what is left is the stack's.
import sys

sys.setrecursionlimit(1 << 30)


class Nested:
    def __repr__(self):
        return repr([self])


repr(Nested())
