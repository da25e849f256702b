package ai.sluice.text;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.UnsupportedModelException;
import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** The tokens that encoding adds before and after a document. Immutable. */
final class DocumentEnds {
  static final DocumentEnds NONE = new DocumentEnds(List.of(), List.of());

  private final List<Integer> before;
  private final List<Integer> after;

  DocumentEnds(List<Integer> before, List<Integer> after) {
    this.before = List.copyOf(before);
    this.after = List.copyOf(after);
  }

  /** The ids of a document between its ends. */
  int[] around(int[] ids) {
    if (before.isEmpty() && after.isEmpty()) {
      return ids;
    }
    int[] all = new int[before.size() + ids.length + after.size()];
    int next = 0;
    for (int id : before) {
      all[next++] = id;
    }
    System.arraycopy(ids, 0, all, next, ids.length);
    next += ids.length;
    for (int id : after) {
      all[next++] = id;
    }
    return all;
  }

  /**
   * Reads the post-processor of a tokenizer.json, as far as it concerns a single document.
   *
   * @param node the JSON object, or null where the file has none
   * @param file named in failures, or null
   * @throws CheckpointFormatException if it is malformed
   * @throws UnsupportedModelException for a post-processor of another kind, by its name
   */
  static DocumentEnds fromJson(@Nullable JsonNode node, @Nullable Path file) {
    if (node == null || node.isNull()) {
      return NONE;
    }
    String type = node.path("type").asText();
    switch (type) {
      case "ByteLevel":
        // It moves offsets, not tokens.
        return NONE;
      case "TemplateProcessing":
        return template(node, file);
      case "Sequence":
        DocumentEnds ends = NONE;
        for (JsonNode child : node.path("processors")) {
          DocumentEnds inner = fromJson(child, file);
          List<Integer> before = new ArrayList<>(inner.before);
          before.addAll(ends.before);
          List<Integer> after = new ArrayList<>(ends.after);
          after.addAll(inner.after);
          ends = new DocumentEnds(before, after);
        }
        return ends;
      case "BertProcessing", "RobertaProcessing":
        return new DocumentEnds(
            List.of(id(node.path("cls").path(1), file)),
            List.of(id(node.path("sep").path(1), file)));
      default:
        throw new UnsupportedModelException(
            "tokenizer.json: post_processor: "
                + type
                + " (expected: TemplateProcessing, ByteLevel, BertProcessing, RobertaProcessing or"
                + " a Sequence of these)");
    }
  }

  private static DocumentEnds template(JsonNode node, @Nullable Path file) {
    List<Integer> before = new ArrayList<>();
    List<Integer> after = new ArrayList<>();
    boolean passed = false;
    for (JsonNode piece : node.path("single")) {
      if (piece.has("Sequence")) {
        if (passed || !piece.path("Sequence").path("id").asText().equals("A")) {
          throw malformed(file, "single: not one sequence A");
        }
        passed = true;
      } else {
        String name = piece.path("SpecialToken").path("id").asText();
        JsonNode ids = node.path("special_tokens").path(name).path("ids");
        if (!ids.isArray()) {
          throw malformed(file, "single: \"" + name + "\" is not among its special_tokens");
        }
        for (JsonNode id : ids) {
          (passed ? after : before).add(id(id, file));
        }
      }
    }
    if (!passed) {
      throw malformed(file, "single: no sequence");
    }
    return new DocumentEnds(before, after);
  }

  private static int id(JsonNode node, @Nullable Path file) {
    if (!node.isInt() || node.asInt() < 0) {
      throw malformed(file, "a token id that is no id");
    }
    return node.asInt();
  }

  private static CheckpointFormatException malformed(@Nullable Path file, String problem) {
    return new CheckpointFormatException(
        file, "post_processor", problem + " (expected: a tokenizer.json)");
  }
}
