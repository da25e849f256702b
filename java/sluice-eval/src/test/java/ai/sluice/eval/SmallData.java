package ai.sluice.eval;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;

/** Small data sets of our own in the formats of the real ones. */
public final class SmallData {
  private SmallData() {}

  /**
   * Two subjects of MMLU with short questions, GSM8K and HumanEval.
   *
   * @param items of each subject and set
   */
  public static Path write(Path folder, int items) throws IOException {
    Path dev = Files.createDirectories(folder.resolve("mmlu/dev"));
    Path test = Files.createDirectories(folder.resolve("mmlu/test"));
    for (String subject : new String[] {"tide_tables", "kite_making"}) {
      Files.writeString(
          dev.resolve(subject + "_dev.csv"), "Up?,a,b,c,d,A\nOn?,a,b,c,d,B\n");
      StringBuilder rows = new StringBuilder();
      for (int i = 0; i < items; i++) {
        rows.append("Is ").append("it ".repeat(i % 5)).append(i * 37 % 101).append("?,").append(i)
            .append(",b,\u00e9,d,").append("ABCD".charAt(i % 4)).append('\n');
      }
      Files.writeString(test.resolve(subject + "_test.csv"), rows.toString());
    }
    Path gsm8k = Files.createDirectories(folder.resolve("gsm8k"));
    StringBuilder lines = new StringBuilder();
    for (int i = 0; i < items; i++) {
      lines.append("{\"question\": \"").append(i).append("+1?\", \"answer\": \"#### ")
          .append(i + 1).append("\"}\n");
    }
    Files.writeString(gsm8k.resolve("train.jsonl"), lines.toString());
    Files.writeString(gsm8k.resolve("test.jsonl"), lines.toString());
    StringBuilder functions = new StringBuilder();
    for (int i = 0; i < items; i++) {
      functions.append("{\"task_id\": \"own/").append(i).append("\", \"prompt\": \"def f")
          .append(i).append("():\\n\", \"canonical_solution\": \"\", \"test\": \"def check(f):")
          .append("\\n\", \"entry_point\": \"f").append(i).append("\"}\n");
    }
    Files.writeString(
        Files.createDirectories(folder.resolve("humaneval")).resolve("HumanEval.jsonl"),
        functions.toString());
    return folder;
  }

  /** A file of the repository's golden ones, wherever a test is started from. */
  public static Path golden(String name) {
    for (Path at = Path.of("").toAbsolutePath(); at != null; at = at.getParent()) {
      Path candidate = at.resolve("tests/golden").resolve(name);
      if (Files.exists(candidate)) {
        return candidate;
      }
    }
    throw new IllegalStateException("tests/golden/" + name + " not found");
  }

  /** A tiny model that chats, with a context in which all tasks have room. */
  public static Path longModel(Path folder) throws IOException {
    byte[] bytes = Files.readAllBytes(golden("tiny_chat.gguf"));
    byte[] key = "llama.context_length".getBytes(StandardCharsets.US_ASCII);
    int at = 0;
    while (!Arrays.equals(bytes, at, at + key.length, key, 0, key.length)) {
      at++;
    }
    // Behind the key its type, then the number.
    ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).putInt(at + key.length + 4, 4096);
    return Files.write(folder.resolve("long.gguf"), bytes);
  }
}
