package ai.sluice.eval.sandbox;

import java.io.ByteArrayOutputStream;
import java.util.ArrayList;
import java.util.List;

/**
 * The system calls a program may make, as a classic BPF program for the kernel's seccomp: a list of
 * what is allowed; all else fails with EPERM, and another architecture's calls end the process.
 */
final class SeccompFilter {
  // <linux/seccomp.h>
  static final int ALLOW = 0x7fff0000;
  static final int KILL_PROCESS = 0x80000000;
  private static final int ERRNO = 0x00050000;
  static final int EPERM = ERRNO | 1;
  static final int ENOSYS = ERRNO | 38;

  // <linux/bpf_common.h>: load a word of seccomp_data, compare it, return.
  static final int LOAD = 0x20;
  static final int JUMP_EQUAL = 0x15;
  static final int JUMP_AT_LEAST = 0x35;
  static final int JUMP_BITS = 0x45;
  static final int RETURN = 0x06;

  // seccomp_data: the call's number, the architecture, then (after an address) the low half of
  // the first two arguments. Both architectures are little-endian.
  private static final int NUMBER_AT = 0;
  private static final int ARCHITECTURE_AT = 4;
  private static final int ARGUMENT_0_AT = 16;
  private static final int ARGUMENT_1_AT = 24;

  private static final int X32 = 0x40000000;
  private static final int CLONE_THREAD = 0x00010000;
  // NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
  private static final int CLONE_NAMESPACES = 0x7e020000;
  // TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX: what files and descriptors ask for.
  private static final int[] IOCTLS = {0x5401, 0x5413, 0x541b, 0x5421, 0x5450, 0x5451};

  /** Architectures with a filter. */
  enum Architecture {
    X86_64(0xc000003e, 56, 435, 16, 302),
    AARCH64(0xc00000b7, 220, 435, 29, 261);

    final int audit;
    final int clone;
    final int clone3;
    final int ioctl;
    final int prlimit64;

    Architecture(int audit, int clone, int clone3, int ioctl, int prlimit64) {
      this.audit = audit;
      this.clone = clone;
      this.clone3 = clone3;
      this.ioctl = ioctl;
      this.prlimit64 = prlimit64;
    }

    /**
     * That of this machine.
     *
     * @throws SandboxUnavailableException when there is no filter for it
     */
    static Architecture here() {
      String name = System.getProperty("os.arch");
      switch (name) {
        case "amd64":
          return X86_64;
        case "aarch64":
          return AARCH64;
        default:
          throw new SandboxUnavailableException(
              "the sandbox has no filter of system calls for this processor: " + name
                  + " (expected: amd64 or aarch64; remedy: " + BubblewrapRunner.ELSEWHERE + ")");
      }
    }
  }

  private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();

  private SeccompFilter() {}

  /** The program for an architecture: 8 bytes an instruction, little-endian. */
  static byte[] of(Architecture architecture) {
    SeccompFilter filter = new SeccompFilter();
    filter.write(architecture);
    return filter.bytes.toByteArray();
  }

  private void write(Architecture architecture) {
    emit(LOAD, 0, 0, ARCHITECTURE_AT);
    emit(JUMP_EQUAL, 1, 0, architecture.audit);
    emit(RETURN, 0, 0, KILL_PROCESS);
    emit(LOAD, 0, 0, NUMBER_AT);
    if (architecture == Architecture.X86_64) {
      // x32 calls have the same architecture and a bit in their number; unsigned, as BPF compares.
      emit(JUMP_AT_LEAST, 0, 1, X32);
      emit(RETURN, 0, 0, KILL_PROCESS);
    }
    for (int number : numbers(architecture)) {
      emit(JUMP_EQUAL, 0, 1, number);
      emit(RETURN, 0, 0, ALLOW);
    }
    // The arguments of clone3 lie in memory, which no filter sees: the C library, told that there
    // is no such call, takes clone.
    emit(JUMP_EQUAL, 0, 1, architecture.clone3);
    emit(RETURN, 0, 0, ENOSYS);
    // Threads, not processes.
    emit(JUMP_EQUAL, 0, 5, architecture.clone);
    emit(LOAD, 0, 0, ARGUMENT_0_AT);
    emit(JUMP_BITS, 2, 0, CLONE_NAMESPACES);
    emit(JUMP_BITS, 0, 1, CLONE_THREAD);
    emit(RETURN, 0, 0, ALLOW);
    emit(RETURN, 0, 0, EPERM);
    // Limits of the process itself.
    emit(JUMP_EQUAL, 0, 4, architecture.prlimit64);
    emit(LOAD, 0, 0, ARGUMENT_0_AT);
    emit(JUMP_EQUAL, 0, 1, 0);
    emit(RETURN, 0, 0, ALLOW);
    emit(RETURN, 0, 0, EPERM);
    emit(JUMP_EQUAL, 0, 2 + 2 * IOCTLS.length, architecture.ioctl);
    emit(LOAD, 0, 0, ARGUMENT_1_AT);
    for (int request : IOCTLS) {
      emit(JUMP_EQUAL, 0, 1, request);
      emit(RETURN, 0, 0, ALLOW);
    }
    emit(RETURN, 0, 0, EPERM);
    emit(RETURN, 0, 0, EPERM);
  }

  // struct sock_filter: code, instructions to skip if the test holds and if not, operand.
  private void emit(int code, int yes, int no, int operand) {
    bytes.write(code);
    bytes.write(code >> 8);
    bytes.write(yes);
    bytes.write(no);
    for (int shift = 0; shift < 32; shift += 8) {
      bytes.write(operand >> shift);
    }
  }

  /** Numbers of the calls that are allowed whatever their arguments. */
  static List<Integer> numbers(Architecture architecture) {
    List<Integer> out = new ArrayList<>();
    for (String line : Resources.text("syscalls.txt").split("\n")) {
      String[] fields = line.split(" ");
      if (!line.startsWith("#") && !fields[1 + architecture.ordinal()].equals("-")) {
        out.add(Integer.valueOf(fields[1 + architecture.ordinal()]));
      }
    }
    return out;
  }
}
