# expected: FAILED ended with status 0 before its verdict
import os

os._exit(0)
