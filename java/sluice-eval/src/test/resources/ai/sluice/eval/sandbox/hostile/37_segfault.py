# expected: FAILED ended with status 139 before its verdict
import ctypes

ctypes.string_at(0)
