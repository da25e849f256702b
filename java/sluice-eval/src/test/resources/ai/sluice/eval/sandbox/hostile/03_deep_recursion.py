# expected: FAILED RecursionError: maximum recursion depth exceeded
def deeper(n):
    return deeper(n + 1)


deeper(0)
