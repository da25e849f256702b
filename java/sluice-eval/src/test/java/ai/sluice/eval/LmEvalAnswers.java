package ai.sluice.eval;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import java.util.zip.GZIPInputStream;

/**
 * A file of {@code sluice-export lm-eval}: what lm-eval answered on one task.
 *
 * @param head what it was made with
 * @param items by task and number
 * @param totals by task or group, then by metric
 */
record LmEvalAnswers(JsonNode head, Map<String, JsonNode> items, JsonNode totals) {
  static LmEvalAnswers read(Path file) throws IOException {
    ObjectMapper json = new ObjectMapper();
    List<JsonNode> lines = new ArrayList<>();
    try (BufferedReader text =
        new BufferedReader(
            new InputStreamReader(
                new GZIPInputStream(Files.newInputStream(file)), StandardCharsets.UTF_8))) {
      for (String line = text.readLine(); line != null; line = text.readLine()) {
        lines.add(json.readTree(line));
      }
    }
    Map<String, JsonNode> items = new LinkedHashMap<>();
    for (JsonNode line : lines.subList(1, lines.size() - 1)) {
      items.put(line.get("task").textValue() + ", item " + line.get("item").intValue(), line);
    }
    return new LmEvalAnswers(
        lines.get(0), items, lines.get(lines.size() - 1).required("totals"));
  }

  /** The committed files of a name, in order. */
  static List<Path> files(String name) throws IOException {
    try (Stream<Path> all = Files.list(folder())) {
      return all.filter(file -> file.getFileName().toString().matches(name + "\\.jsonl\\.gz"))
          .sorted()
          .toList();
    }
  }

  /** Where they lie, beside the checkpoints. */
  static Path folder() {
    Path at = Path.of("").toAbsolutePath();
    while (at != null && !Files.exists(at.resolve("CMakePresets.json"))) {
      at = at.getParent();
    }
    if (at == null) {
      throw new IllegalStateException("no CMakePresets.json above " + Path.of("").toAbsolutePath());
    }
    return at.resolve("tests/golden/eval");
  }

  /** How far the likeliest choice of an item is from the next one. */
  static double margin(JsonNode item) {
    double best = Double.NEGATIVE_INFINITY;
    double next = Double.NEGATIVE_INFINITY;
    for (JsonNode choice : item.get("choices")) {
      double logprob = choice.get(0).doubleValue();
      next = Math.max(next, Math.min(best, logprob));
      best = Math.max(best, logprob);
    }
    return best - next;
  }
}
