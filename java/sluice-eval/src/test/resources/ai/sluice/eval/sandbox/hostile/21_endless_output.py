# expected: TIMED_OUT timed out
while True:
    print("PASSED " * 1000)
