package ai.sluice.eval.run;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.EvalModel;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * What an answer cost: what may change from run to run, and so is kept apart from the items.
 *
 * @param key of the item
 * @param promptTokens of the prompt, and of continuations all but their last
 * @param cachedTokens of these found in a cache
 * @param truncatedTokens cut off the prompt's beginning because it was too long
 * @param newTokens generated, or of continuations
 * @param seconds from sending to the end
 */
public record ItemTiming(
    ItemKey key,
    int promptTokens,
    int cachedTokens,
    int truncatedTokens,
    int newTokens,
    double seconds) {
  /** The file of a run that holds one a line, as JSON. */
  public static final String FILE = "timings.jsonl";

  /** Of a reply. */
  static ItemTiming of(ItemKey key, EvalModel.Reply reply) {
    return new ItemTiming(
        key, reply.promptTokens(), reply.cachedTokens(), reply.truncatedTokens(),
        reply.newTokens(), reply.seconds());
  }

  /** The line, with its line feed. */
  String line() {
    ObjectNode out = ItemRecord.JSON.createObjectNode();
    out.put("task", key.task()).put("index", key.index());
    out.put("prompt_tokens", promptTokens).put("cached_tokens", cachedTokens);
    out.put("truncated_tokens", truncatedTokens).put("new_tokens", newTokens);
    return out.put("seconds", seconds) + "\n";
  }

  /**
   * Those of a run, by item; of an item that was asked again the last. Items whose line was lost
   * by a crash have none.
   *
   * @throws InvalidRequestException when the file is there and cannot be read
   */
  public static SortedMap<ItemKey, ItemTiming> read(Path folder) {
    SortedMap<ItemKey, ItemTiming> out = new TreeMap<>();
    try {
      for (String line : RunFiles.lines(folder.resolve(FILE))) {
        ItemTiming timing = of(line);
        if (timing != null) {
          out.put(timing.key(), timing);
        }
      }
    } catch (IOException e) {
      throw new InvalidRequestException(
          folder.resolve(FILE) + ": cannot be read: " + e.getMessage(), e);
    }
    return out;
  }

  private static @org.jspecify.annotations.Nullable ItemTiming of(String line) {
    try {
      JsonNode json = ItemRecord.JSON.readTree(line);
      return json.path("task").isTextual() && json.has("seconds")
          ? new ItemTiming(
              new ItemKey(json.path("task").asText(), json.path("index").asInt()),
              json.path("prompt_tokens").asInt(), json.path("cached_tokens").asInt(),
              json.path("truncated_tokens").asInt(), json.path("new_tokens").asInt(),
              json.path("seconds").asDouble())
          : null;
    } catch (JsonProcessingException e) {
      return null;
    }
  }
}
