package ai.sluice.cli;

import ai.sluice.api.InvalidRequestException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * The arguments as the user typed them. Java decodes them by the locale and replaces what does not
 * fit, so that in a container without a locale every Chinese prompt would arrive as question marks.
 * The kernel still has the bytes.
 */
final class Arguments {
  private static final Path COMMAND_LINE = Path.of("/proc/self/cmdline");

  private Arguments() {}

  /**
   * The same arguments, decoded as UTF-8 where Java may have got one wrong.
   *
   * @throws InvalidRequestException if one is not UTF-8
   */
  static String[] decode(String[] args) {
    for (String arg : args) {
      if (!arg.chars().allMatch(c -> c < 0x80)) {
        return decode(args, COMMAND_LINE);
      }
    }
    return args;
  }

  static String[] decode(String[] args, Path commandLine) {
    byte[] bytes;
    try {
      bytes = Files.readAllBytes(commandLine);
    } catch (IOException e) {
      return args; // not Linux: Java's own decoding is all there is
    }
    List<byte[]> all = new ArrayList<>();
    int begin = 0;
    for (int i = 0; i < bytes.length; i++) {
      if (bytes[i] == 0) {
        all.add(Arrays.copyOfRange(bytes, begin, i));
        begin = i + 1;
      }
    }
    if (all.size() < args.length) {
      return args;
    }
    String[] decoded = new String[args.length];
    for (int i = 0; i < args.length; i++) {
      decoded[i] =
          Utf8.decode("argument " + (i + 1), all.get(all.size() - args.length + i));
    }
    return decoded;
  }
}
