# expected: TIMED_OUT timed out
# No bytecode runs, so that the interpreter's own timer never gets a turn.
import re

re.match(r"(a+)+$", "a" * 64 + "b")
