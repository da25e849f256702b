# expected: FAILED MemoryError
bytearray(3 << 30)
