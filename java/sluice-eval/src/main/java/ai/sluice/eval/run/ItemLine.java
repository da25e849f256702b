package ai.sluice.eval.run;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import java.nio.charset.StandardCharsets;
import java.util.Optional;
import java.util.zip.CRC32C;

/**
 * A line of {@code items.jsonl}: {@code {"crc32c":"1a2b3c4d","item":{...}}}, the checksum over the
 * bytes of the item. A line that was torn by a crash does not match it.
 */
public final class ItemLine {
  private static final String HEAD = "{\"crc32c\":\"";
  private static final String MIDDLE = "\",\"item\":";

  private ItemLine() {}

  /** The line of a record, with its line feed. */
  public static String write(ItemRecord record) {
    String item;
    try {
      item = ItemRecord.JSON.writeValueAsString(record.toJson());
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("item: not written (a defect of Sluice)", e);
    }
    return HEAD + checksum(item) + MIDDLE + item + "}\n";
  }

  /**
   * The record of a line.
   *
   * @param line without its line feed
   * @return empty if the line is not whole
   */
  public static Optional<ItemRecord> read(String line) {
    int begin = HEAD.length() + 8 + MIDDLE.length();
    if (line.length() <= begin || !line.startsWith(HEAD) || !line.endsWith("}")) {
      return Optional.empty();
    }
    String item = line.substring(begin, line.length() - 1);
    if (!line.startsWith(HEAD + checksum(item) + MIDDLE)) {
      return Optional.empty();
    }
    try {
      JsonNode json = ItemRecord.JSON.readTree(item);
      return Optional.of(ItemRecord.fromJson(json));
    } catch (JsonProcessingException e) {
      return Optional.empty();
    }
  }

  private static String checksum(String item) {
    CRC32C crc = new CRC32C();
    crc.update(item.getBytes(StandardCharsets.UTF_8));
    return String.format("%08x", crc.getValue());
  }
}
