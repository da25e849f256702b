package ai.sluice.eval.data;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** Makes tar archives, honest ones and others. */
final class Tar {
  private final ByteArrayOutputStream out = new ByteArrayOutputStream();

  Tar file(String name, String text) {
    return entry(name, '0', text.getBytes(StandardCharsets.UTF_8));
  }

  Tar folder(String name) {
    return entry(name, '5', new byte[0]);
  }

  Tar entry(String name, char type, byte[] body) {
    return header(name, type, body.length).raw(body);
  }

  /** A file behind a pax header that holds its name. */
  Tar paxFile(String name, String text) {
    String record = " path=" + name + "\n";
    int length = record.length() + 2;
    length += String.valueOf(length).length() - 2;
    return entry("pax", 'x', (length + record).getBytes(StandardCharsets.UTF_8))
        .file(name.substring(0, Math.min(100, name.length())), text);
  }

  /** A header that announces so many bytes. */
  Tar header(String name, char type, long size) {
    byte[] block = new byte[512];
    put(block, 0, name);
    put(block, 100, "0000644\0");
    put(block, 124, String.format("%011o\0", size));
    put(block, 136, "00000000000\0");
    block[156] = (byte) type;
    put(block, 157, type == '1' || type == '2' ? "/etc/passwd" : "");
    put(block, 257, "ustar\00000");
    Arrays.fill(block, 148, 156, (byte) ' ');
    int sum = 0;
    for (byte value : block) {
      sum += value & 0xff;
    }
    put(block, 148, String.format("%06o\0 ", sum));
    out.writeBytes(block);
    return this;
  }

  private Tar raw(byte[] body) {
    out.writeBytes(body);
    out.writeBytes(new byte[(512 - body.length % 512) % 512]);
    return this;
  }

  byte[] bytes() {
    byte[] all = out.toByteArray();
    return Arrays.copyOf(all, all.length + 1024);
  }

  private static void put(byte[] block, int at, String text) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    System.arraycopy(bytes, 0, block, at, bytes.length);
  }
}
