package ai.sluice.eval.report;

import ai.sluice.eval.EvalException;
import ai.sluice.eval.run.EvalRun;
import ai.sluice.eval.run.ItemRecord;
import ai.sluice.eval.run.SentPrompt;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedWriter;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * Writes what others read of a run: {@code results.json} and {@code samples_TASK.jsonl}, in the
 * form of lm-eval 0.4.13. Equal items give equal bytes. Thread-safe for different runs.
 */
public final class RunOutputs {
  /** The name of the results. */
  public static final String RESULTS = "results.json";

  private static final ObjectMapper JSON = new ObjectMapper();

  private RunOutputs() {}

  /**
   * Writes both into the run's folder; what is there is replaced, each file at once.
   *
   * @param run as it is now; results tell whether it is complete
   * @param sent what the model was asked for an item; null where that is not known, then what an
   *     earlier file told of the same prompt is kept
   * @throws EvalException if the folder cannot be written
   */
  public static void write(EvalRun run, Function<ItemRecord, @Nullable SentPrompt> sent) {
    try {
      Map<String, List<ItemRecord>> tasks = new LinkedHashMap<>();
      for (ItemRecord item : run.items().values()) {
        tasks.computeIfAbsent(item.task(), name -> new ArrayList<>()).add(item);
      }
      for (Map.Entry<String, List<ItemRecord>> task : tasks.entrySet()) {
        Path file = run.folder().resolve(SamplesFile.name(task.getKey()));
        Map<Integer, JsonNode> earlier = earlier(file);
        replace(
            file,
            writer -> {
              for (ItemRecord item : task.getValue()) {
                JsonNode before = earlier.get(item.index());
                boolean same =
                    before != null
                        && before.path("prompt_hash").asText().startsWith(item.promptHash());
                for (String line :
                    SamplesFile.lines(item, sent.apply(item), same ? before : null)) {
                  writer.write(line);
                }
              }
            });
      }
      replace(run.folder().resolve(RESULTS), writer -> writer.write(ResultsJson.text(run)));
    } catch (IOException e) {
      throw new EvalException(
          run.folder() + ": results cannot be written: " + e.getMessage()
              + " (remedy: make room, then the same command again; no item is lost)",
          e);
    }
  }

  private static Map<Integer, JsonNode> earlier(Path file) throws IOException {
    Map<Integer, JsonNode> out = new HashMap<>();
    if (Files.exists(file)) {
      for (String line : Files.readAllLines(file)) {
        try {
          JsonNode row = JSON.readTree(line);
          out.put(row.path("doc_id").asInt(), row);
        } catch (JsonProcessingException e) {
          continue; // Damaged: it has nothing to keep.
        }
      }
    }
    return out;
  }

  private interface Content {
    void write(BufferedWriter writer) throws IOException;
  }

  private static void replace(Path file, Content content) throws IOException {
    Path part = file.resolveSibling(file.getFileName() + ".part");
    try {
      try (BufferedWriter writer = Files.newBufferedWriter(part, StandardCharsets.UTF_8)) {
        content.write(writer);
      }
      Files.move(part, file, StandardCopyOption.REPLACE_EXISTING);
    } finally {
      Files.deleteIfExists(part);
    }
  }
}
