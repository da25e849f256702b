package ai.sluice.openai.batch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.openai.ServedModel;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.io.TempDir;

/** A folder with the files of a batch, and what tests do with them. */
abstract class BatchFolder {
  static final ObjectMapper MAPPER = new ObjectMapper();
  static final ServedModel MODEL =
      new ServedModel(Set.of("tiny"), "fp_1", Optional.empty());

  @TempDir Path folder;
  Path input;
  Path output;

  @BeforeEach
  void paths() {
    input = folder.resolve("in.jsonl");
    output = folder.resolve("out.jsonl");
  }

  static String line(String id, String prompt) {
    return "{\"custom_id\":\"" + id + "\",\"body\":{\"prompt\":\"" + prompt + "\"}}";
  }

  void lines(int count) throws IOException {
    List<String> lines = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      lines.add(line("id" + i, "text" + i));
    }
    Files.write(input, lines);
  }

  BatchStatus run(BatchEngine... engines) {
    return run(BatchOptions.defaults(), engines);
  }

  BatchStatus run(BatchOptions options, BatchEngine... engines) {
    try (BatchRun run = BatchRun.open(input, output, options)) {
      BatchStatus status = run.run(List.of(engines), MODEL, s -> {});
      assertTrue(run.isComplete());
      return status;
    }
  }

  /** The lines by custom_id, each there once. */
  Map<String, JsonNode> answers() throws IOException {
    Map<String, JsonNode> answers = new LinkedHashMap<>();
    String text = Files.readString(output);
    assertTrue(text.isEmpty() || text.endsWith("\n"));
    for (String line : text.split("\n")) {
      if (!line.isEmpty()) {
        JsonNode node = MAPPER.readTree(line);
        assertEquals(null, answers.put(node.get("custom_id").asText(), node), line);
      }
    }
    return answers;
  }

  static String text(JsonNode line) {
    return line.at("/response/body/choices/0/text").asText();
  }

  static void awaitQuietly(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
