# What must not be possible, tried. Before it stand the lines that set `canary`, a file outside of the
# sandbox that anybody may read and write, and `port`, which something listens to on loopback.
import os
import socket
import sys

possible = []


def probe(name, action):
    try:
        action()
    except (OSError, MemoryError):
        return
    possible.append(name)


def fork():
    if os.fork() == 0:
        os._exit(0)


def write(name):
    with open(name, "a"):
        pass
    if name != canary:
        os.unlink(name)


def large_file():
    try:
        with open("/tmp/sluice-self-test", "wb") as file:
            for _ in range(9):
                file.write(bytes(1 << 20))
    finally:
        os.unlink("/tmp/sluice-self-test")


def many_files():
    held = []
    try:
        for _ in range(100):
            held.append(os.open("/dev/null", os.O_RDONLY))
    finally:
        for one in held:
            os.close(one)


probe("fork", fork)
probe("a connection", lambda: socket.create_connection(("127.0.0.1", port), timeout=1))
probe("reading a file outside", lambda: open(canary))
probe("writing a file outside", lambda: write(canary))
probe("listing processes", lambda: os.listdir("/proc/self"))
probe("seeing the configuration of the machine", lambda: os.listdir("/etc"))
for folder in "/", "/usr", "/usr/lib", "/dev", "/dev/shm":
    probe("writing to " + folder, lambda: write(folder + "/sluice-self-test"))
probe("2 GiB of memory", lambda: bytearray(2 << 30))
probe("a file of 9 MiB", large_file)
probe("100 open files", many_files)
probe("signals to all", lambda: os.kill(-1, 0))
if 0 in (os.getuid(), os.geteuid(), os.getgid(), os.getegid()):
    possible.append("being root")
if sys.flags.hash_randomization:
    possible.append("another order of sets in every run")
if possible:
    raise PermissionError("possible: " + ", ".join(possible))
