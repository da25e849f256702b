# expected: FAILED EOFError: EOF when reading a line
input()
