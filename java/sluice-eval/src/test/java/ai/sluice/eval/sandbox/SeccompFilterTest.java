package ai.sluice.eval.sandbox;

import static org.junit.jupiter.api.Assertions.assertEquals;

import ai.sluice.eval.sandbox.SeccompFilter.Architecture;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The filter's program, run by an interpreter of its own. */
class SeccompFilterTest {
  private static int interpreted(
      Architecture program, int audit, int number, long... arguments) {
    ByteBuffer data = ByteBuffer.allocate(64).order(ByteOrder.LITTLE_ENDIAN);
    data.putInt(0, number).putInt(4, audit);
    for (int i = 0; i < arguments.length; i++) {
      data.putLong(16 + 8 * i, arguments[i]);
    }
    ByteBuffer code =
        ByteBuffer.wrap(SeccompFilter.of(program)).order(ByteOrder.LITTLE_ENDIAN);
    int loaded = 0;
    for (int at = 0; ; at += 8) {
      int operand = code.getInt(at + 4);
      boolean holds;
      switch (code.getShort(at)) {
        case SeccompFilter.LOAD:
          loaded = data.getInt(operand);
          continue;
        case SeccompFilter.RETURN:
          return operand;
        case SeccompFilter.JUMP_EQUAL:
          holds = loaded == operand;
          break;
        case SeccompFilter.JUMP_AT_LEAST:
          holds = Integer.compareUnsigned(loaded, operand) >= 0;
          break;
        case SeccompFilter.JUMP_BITS:
          holds = (loaded & operand) != 0;
          break;
        default:
          throw new AssertionError("instruction " + at / 8 + ": " + code.getShort(at));
      }
      at += 8 * Byte.toUnsignedInt(code.get(at + (holds ? 2 : 3)));
    }
  }

  private static int answer(Architecture architecture, int number, long... arguments) {
    return interpreted(architecture, architecture.audit, number, arguments);
  }

  @ParameterizedTest
  @EnumSource
  void everyNumberIsAnsweredByTheList(Architecture architecture) {
    List<Integer> allowed = SeccompFilter.numbers(architecture);
    for (int number = 0; number < 1024; number++) {
      int expected = allowed.contains(number) ? SeccompFilter.ALLOW : SeccompFilter.EPERM;
      if (number == architecture.clone3) {
        expected = SeccompFilter.ENOSYS;
      } else if (number == architecture.prlimit64) {
        expected = SeccompFilter.ALLOW; // of process 0, the caller
      }
      assertEquals(expected, answer(architecture, number), "call " + number);
    }
    assertEquals(SeccompFilter.EPERM, answer(architecture, 0x3fffffff));
  }

  @ParameterizedTest
  @EnumSource
  void argumentsAreLookedAt(Architecture architecture) {
    int threads = 0x3d0f00; // What pthread_create asks for.
    assertEquals(SeccompFilter.ALLOW, answer(architecture, architecture.clone, threads));
    assertEquals(SeccompFilter.EPERM, answer(architecture, architecture.clone, 17));
    for (int space = 0; space < 32; space++) {
      boolean isNamespace = (0x7e020000L >> space & 1) == 1;
      assertEquals(
          isNamespace ? SeccompFilter.EPERM : SeccompFilter.ALLOW,
          answer(architecture, architecture.clone, threads | 1L << space));
    }
    assertEquals(SeccompFilter.EPERM, answer(architecture, architecture.prlimit64, 1));
    assertEquals(SeccompFilter.ALLOW, answer(architecture, architecture.ioctl, 1, 0x5401));
    assertEquals(SeccompFilter.ALLOW, answer(architecture, architecture.ioctl, 1, 0x5451));
    assertEquals(SeccompFilter.EPERM, answer(architecture, architecture.ioctl, 1, 0x5412));
  }

  @Test
  void otherArchitecturesEndTheProcess() {
    int i386 = 0x40000003;
    assertEquals(SeccompFilter.KILL_PROCESS, interpreted(Architecture.X86_64, i386, 0));
    assertEquals(
        SeccompFilter.KILL_PROCESS,
        interpreted(Architecture.AARCH64, Architecture.X86_64.audit, 63));
    assertEquals(SeccompFilter.KILL_PROCESS, answer(Architecture.X86_64, 0x40000000));
    assertEquals(SeccompFilter.KILL_PROCESS, answer(Architecture.X86_64, 0x40000000 + 39));
    assertEquals(SeccompFilter.KILL_PROCESS, answer(Architecture.X86_64, -1));
  }

  /** The numbers are those of the kernel's headers, where they are installed. */
  @Test
  void numbersAreTheKernels() throws Exception {
    Path x86 = Path.of("/usr/include/x86_64-linux-gnu/asm/unistd_64.h");
    Path generic = Path.of("/usr/include/asm-generic/unistd.h");
    if (!Files.exists(x86) || !Files.exists(generic)) {
      System.err.println("SKIPPED: " + x86 + " or " + generic + " is not there");
      return;
    }
    Map<String, String> onX86 = numbers(x86);
    Map<String, String> onOthers = numbers(generic);
    onOthers.put("newfstatat", onOthers.get("fstatat"));
    for (String line : Resources.text("syscalls.txt").split("\n")) {
      String[] fields = line.split(" ");
      if (!line.startsWith("#")) {
        assertEquals(onX86.getOrDefault(fields[0], "-"), fields[1], line);
        assertEquals(onOthers.getOrDefault(fields[0], "-"), fields[2], line);
      }
    }
    for (Architecture architecture : Architecture.values()) {
      Map<String, String> numbers = architecture == Architecture.X86_64 ? onX86 : onOthers;
      assertEquals(numbers.get("clone"), "" + architecture.clone);
      assertEquals(numbers.get("clone3"), "" + architecture.clone3);
      assertEquals(numbers.get("ioctl"), "" + architecture.ioctl);
      assertEquals(numbers.get("prlimit64"), "" + architecture.prlimit64);
    }
  }

  private static Map<String, String> numbers(Path header) throws Exception {
    Map<String, String> out = new HashMap<>();
    Matcher lines =
        Pattern.compile("#define __NR(?:3264)?_(\\w+) (\\d+)").matcher(Files.readString(header));
    while (lines.find()) {
      out.put(lines.group(1), lines.group(2));
    }
    return out;
  }
}
