# expected: TIMED_OUT timed out
import signal

signal.setitimer(signal.ITIMER_REAL, 0)
while True:
    pass
