package ai.sluice.eval.data;

import ai.sluice.eval.EvalException;
import java.io.BufferedInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Takes chosen files out of a tar archive (ustar with the long names of pax and GNU). An archive is
 * refused as a whole when any entry of it, chosen or not, is a link or a device, or points out of
 * its folder: whoever made such a one meant something else.
 */
final class TarFile {
  private static final int BLOCK = 512;
  private static final int MOST_ENTRIES = 10_000;
  private static final int MOST_NAME_BYTES = 4096;

  private final String name;
  private final String prefix;
  private final Set<String> wanted;
  private final Path into;
  private final long mostBytes;
  private final InputStream in;
  private long left;
  private long written;

  private TarFile(
      String name, long size, String prefix, Set<String> wanted, Path into, long mostBytes,
      InputStream in) {
    this.name = name;
    this.prefix = prefix;
    this.wanted = wanted;
    this.into = into;
    this.mostBytes = mostBytes;
    this.in = in;
    this.left = size;
  }

  /**
   * Unpacks.
   *
   * @param name of the archive, for messages
   * @param prefix before the path of each chosen file
   * @param wanted their paths behind it
   * @param into a folder, where folders are made as needed
   * @param mostBytes that may be written in all
   * @throws EvalException when the archive is damaged, hostile or too large
   * @throws IOException when it cannot be read, or a file not written
   */
  static void unpack(
      Path tar, String name, String prefix, Set<String> wanted, Path into, long mostBytes)
      throws IOException {
    try (InputStream in = new BufferedInputStream(Files.newInputStream(tar), 1 << 16)) {
      new TarFile(name, Files.size(tar), prefix, wanted, into, mostBytes, in).unpack();
    }
  }

  private void unpack() throws IOException {
    byte[] header = new byte[BLOCK];
    @Nullable String longName = null;
    for (int entries = 0; left >= BLOCK; entries++) {
      if (entries == MOST_ENTRIES) {
        throw refused("more than " + MOST_ENTRIES + " entries");
      }
      read(header);
      if (isZero(header)) {
        return;
      }
      checkSum(header);
      long size = number(header, 124, 12);
      if (size > left) {
        throw refused("an entry of " + size + " bytes where " + left + " are left");
      }
      char type = (char) (header[156] & 0xff);
      switch (type) {
        case 'x' -> longName = paxPath(bytes(size), longName);
        case 'L' -> longName = new String(bytes(size), StandardCharsets.UTF_8).replace("\0", "");
        case 'g' -> skip(padded(size));
        default -> {
          entry(longName == null ? shortName(header) : longName, type, size);
          longName = null;
        }
      }
    }
  }

  private void entry(String path, char type, long size) throws IOException {
    if (type != '0' && type != '\0' && type != '5') {
      throw refused(
          path + ": a link or a device, type '" + type + "' (expected: files and folders alone)");
    }
    String relative = safe(path);
    String inside = relative.startsWith(prefix) ? relative.substring(prefix.length()) : "";
    if (type == '5' || !wanted.contains(inside)) {
      skip(padded(size));
      return;
    }
    written += size;
    if (written > mostBytes) {
      throw refused(
          path + ": more than " + mostBytes + " bytes in all (expected: at most that many)");
    }
    Path target = into.resolve(inside).normalize();
    if (!target.startsWith(into)) {
      throw refused(path + ": outside of its folder");
    }
    if (Files.exists(target)) {
      throw refused(path + ": twice");
    }
    Files.createDirectories(target.getParent() == null ? into : target.getParent());
    try (OutputStream out = Files.newOutputStream(target)) {
      copy(size, out);
    }
    skip(padded(size) - size);
  }

  private String safe(String entry) {
    String path = entry;
    while (path.startsWith("./")) {
      path = path.substring(2);
    }
    boolean up = false;
    for (String part : path.split("/", -1)) {
      up |= part.equals("..");
    }
    if (path.startsWith("/") || up || path.indexOf('\\') >= 0 || path.indexOf('\0') >= 0) {
      throw refused(entry + ": outside of its folder (expected: a relative path without ..)");
    }
    return path;
  }

  private byte[] bytes(long size) throws IOException {
    if (size > MOST_NAME_BYTES) {
      throw refused("a name of " + size + " bytes (expected: at most " + MOST_NAME_BYTES + ")");
    }
    byte[] out = new byte[(int) size];
    read(out);
    skip(padded(size) - size);
    return out;
  }

  // Records "LENGTH KEY=VALUE\n", the length that of the whole record.
  private @Nullable String paxPath(byte[] bytes, @Nullable String before) {
    @Nullable String path = before;
    int at = 0;
    while (at < bytes.length) {
      int space = at;
      int length = 0;
      while (space < bytes.length && Character.isDigit(bytes[space]) && length < 1 << 20) {
        length = length * 10 + bytes[space++] - '0';
      }
      int end = at + length;
      if (length == 0 || space >= bytes.length || bytes[space] != ' ' || end > bytes.length
          || end <= space) {
        throw refused("a damaged pax header");
      }
      String record = new String(bytes, space + 1, end - space - 1, StandardCharsets.UTF_8);
      if (record.startsWith("path=")) {
        path = record.substring("path=".length()).replace("\n", "");
      } else if (record.startsWith("size=") || record.startsWith("GNU.sparse")) {
        throw refused("a pax header with " + record.strip() + " (expected: plain files)");
      }
      at = end;
    }
    return path;
  }

  private static String shortName(byte[] header) {
    String name = text(header, 0, 100);
    boolean ustar = text(header, 257, 5).equals("ustar") && header[262] == 0;
    String folder = ustar ? text(header, 345, 155) : "";
    return folder.isEmpty() ? name : folder + "/" + name;
  }

  private static String text(byte[] header, int at, int most) {
    int end = at;
    while (end < at + most && header[end] != 0) {
      end++;
    }
    return new String(header, at, end - at, StandardCharsets.UTF_8);
  }

  private long number(byte[] header, int at, int digits) {
    long value = 0;
    boolean any = false;
    for (int i = at; i < at + digits; i++) {
      int c = header[i];
      if (c >= '0' && c <= '7') {
        value = value * 8 + c - '0';
        any = true;
      } else if (c != ' ' && c != 0) {
        throw refused("a header with a damaged number, or of an entry beyond 8 GiB");
      } else if (any) {
        break;
      }
    }
    return value;
  }

  private void checkSum(byte[] header) {
    int sum = 0;
    for (int i = 0; i < BLOCK; i++) {
      sum += i >= 148 && i < 156 ? ' ' : header[i] & 0xff;
    }
    if (sum != number(header, 148, 8)) {
      throw refused("a header whose checksum does not match");
    }
  }

  private static boolean isZero(byte[] header) {
    for (byte value : header) {
      if (value != 0) {
        return false;
      }
    }
    return true;
  }

  private static long padded(long size) {
    return (size + BLOCK - 1) / BLOCK * BLOCK;
  }

  private void read(byte[] out) throws IOException {
    if (in.readNBytes(out, 0, out.length) < out.length) {
      throw new EOFException(name + ": ends within an entry");
    }
    left -= out.length;
  }

  private void copy(long size, OutputStream out) throws IOException {
    byte[] buffer = new byte[1 << 16];
    for (long rest = size; rest > 0; ) {
      int n = in.read(buffer, 0, (int) Math.min(buffer.length, rest));
      if (n < 0) {
        throw new EOFException(name + ": ends within an entry");
      }
      out.write(buffer, 0, n);
      rest -= n;
      left -= n;
    }
  }

  private void skip(long bytes) throws IOException {
    if (bytes > left) {
      throw refused("it ends within an entry");
    }
    in.skipNBytes(bytes);
    left -= bytes;
  }

  private EvalException refused(String why) {
    return new EvalException(
        name + ": " + why + " (nothing of it is kept; remedy: fetch it from its"
            + " authors, without --from)");
  }
}
