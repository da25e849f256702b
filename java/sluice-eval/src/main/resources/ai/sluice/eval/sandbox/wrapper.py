# Runs the program that comes after a nonce on standard input and says how it ended on the descriptor
# that standard output was. Only what runs before exec() is trusted.
def main():
    import _signal, posix, resource, sys, time

    posix.write(1, b"up\n")
    parts = []
    while part := posix.read(0, 65536):
        parts.append(part)
    nonce, line, source = b"".join(parts).partition(b"\n")
    if not line:
        posix._exit(0)  # Whoever was to hand over a program is no more.
    source = source.decode()
    kept = posix.dup(1)
    null = posix.open("/dev/null", posix.O_RDWR)
    for standard in 0, 1, 2:
        posix.dup2(null, standard)
    posix.close(null)
    sys.path[:] = [entry for entry in sys.path if entry]
    for kind, most in (
        (resource.RLIMIT_AS, 1 << 30),
        (resource.RLIMIT_CPU, 10),
        (resource.RLIMIT_NPROC, 64),
        (resource.RLIMIT_FSIZE, 8 << 20),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_STACK, 64 << 20),
    ):
        hard = resource.getrlimit(kind)[1]
        if hard != resource.RLIM_INFINITY:
            most = min(most, hard)
        resource.setrlimit(kind, (most, most))

    write, leave, clock, limit = posix.write, posix._exit, time.monotonic, float(sys.argv[1])
    del sys.argv[1:]
    began = clock()

    def end(word, detail=""):
        line = "%s %.6f %s" % (word, clock() - began, detail)
        write(kept, nonce + b" " + line.encode("utf-8", "backslashreplace") + b"\n")
        leave(0)

    def late(*_):
        end("late")

    undescribed = nonce + b" failed 0 an exception that cannot be shown\n"
    write(kept, nonce + b" ready " + sys.version.split()[0].encode() + b"\n")
    began = clock()
    _signal.signal(_signal.SIGALRM, late)
    _signal.setitimer(_signal.ITIMER_REAL, limit)
    try:
        exec(source, {})
    except BaseException as error:
        try:
            error.__traceback__ = error.__context__ = None
            shown = "%s: %s" % (type(error).__name__, error)
            end("failed", " ".join(shown.split())[:400].rstrip(":"))
        except BaseException:
            write(kept, undescribed)
            leave(0)
    end("passed")


main()
