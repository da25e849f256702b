# expected: FAILED ended with status
import os

os.closerange(0, 64)
