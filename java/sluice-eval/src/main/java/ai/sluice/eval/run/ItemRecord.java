package ai.sluice.eval.run;

import ai.sluice.eval.EvalAnswer;
import ai.sluice.eval.EvalItem;
import ai.sluice.eval.ItemScores;
import ai.sluice.eval.PromptHash;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.StreamWriteFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * An item that is answered and judged. Holds nothing that another batch, order or machine load
 * changes, so that equal runs leave equal lines.
 *
 * @param group the task as it was asked for: {@code mmlu}
 * @param task the item's own, of a group the subject's: {@code mmlu_anatomy}
 * @param index of the item in its file, from 0
 * @param promptHash the first 16 hexadecimal digits of the SHA-256 of the prompt as it was sent
 * @param question without description and examples
 * @param target the right answer, as in {@link EvalItem}
 * @param doc the item as its data set has it
 * @param answer what the model answered
 * @param scores what that is worth
 */
public record ItemRecord(
    String group,
    String task,
    int index,
    String promptHash,
    String question,
    String target,
    Map<String, Object> doc,
    EvalAnswer answer,
    ItemScores scores) {
  // Doubles in their shortest digits, which Double.toString does not give on every JDK.
  static final ObjectMapper JSON =
      new ObjectMapper(
          JsonFactory.builder().enable(StreamWriteFeature.USE_FAST_DOUBLE_WRITER).build());

  /**
   * Of an item that was answered.
   *
   * @param group the task as it was asked for
   * @param prompt as it was sent
   */
  public static ItemRecord of(
      String group, EvalItem item, String prompt, EvalAnswer answer, ItemScores scores) {
    return new ItemRecord(
        group, item.task(), item.index(), PromptHash.of(prompt), item.prompt().question(),
        item.target(), item.doc(), answer, scores);
  }

  /** The same with what its answer is worth. */
  ItemRecord judged(ItemScores worth) {
    return new ItemRecord(
        group, task, index, promptHash, question, target, doc, answer, worth);
  }

  /** Names it within a run. */
  public ItemKey key() {
    return new ItemKey(task, index);
  }

  /** As JSON, with the same bytes for the same values. */
  public ObjectNode toJson() {
    ObjectNode out = JSON.createObjectNode();
    out.put("group", group).put("task", task).put("index", index).put("prompt_hash", promptHash);
    out.put("question", question).put("target", target);
    out.set("doc", JSON.valueToTree(doc));
    if (!answer.choices().isEmpty()) {
      ArrayNode choices = out.putArray("choices");
      for (EvalAnswer.Choice choice : answer.choices()) {
        choices.addArray().add(choice.logprob()).add(choice.greedy());
      }
    }
    if (!answer.texts().isEmpty()) {
      answer.texts().forEach(out.putArray("texts")::add);
    }
    out.set("filtered", JSON.valueToTree(scores.filtered()));
    out.set("metrics", JSON.valueToTree(scores.metrics()));
    if (!scores.verdicts().isEmpty()) {
      scores.verdicts().forEach(out.putArray("verdicts")::add);
    }
    return out;
  }

  /**
   * From JSON.
   *
   * @throws IllegalArgumentException if a field is missing or of another kind
   */
  public static ItemRecord fromJson(JsonNode json) {
    List<EvalAnswer.Choice> choices = new ArrayList<>();
    json.path("choices")
        .forEach(
            node -> choices.add(
                new EvalAnswer.Choice(node.path(0).asDouble(), node.path(1).asBoolean())));
    List<String> texts = new ArrayList<>();
    json.path("texts").forEach(node -> texts.add(node.asText()));
    Map<String, String> filtered = new LinkedHashMap<>();
    json.path("filtered").fields().forEachRemaining(
        entry -> filtered.put(entry.getKey(), entry.getValue().asText()));
    Map<String, Double> metrics = new LinkedHashMap<>();
    json.path("metrics").fields().forEachRemaining(
        entry -> metrics.put(entry.getKey(), entry.getValue().asDouble()));
    List<String> verdicts = new ArrayList<>();
    json.path("verdicts").forEach(node -> verdicts.add(node.asText()));
    return new ItemRecord(
        text(json, "group"), text(json, "task"), number(json, "index"), text(json, "prompt_hash"),
        text(json, "question"), text(json, "target"), doc(json.path("doc")),
        new EvalAnswer(choices, texts), new ItemScores(filtered, metrics, verdicts));
  }

  private static Map<String, Object> doc(JsonNode json) {
    Map<String, Object> out = new LinkedHashMap<>();
    json.fields().forEachRemaining(
        entry -> out.put(entry.getKey(), JSON.convertValue(entry.getValue(), Object.class)));
    return out;
  }

  private static String text(JsonNode json, String name) {
    JsonNode value = json.path(name);
    if (!value.isTextual()) {
      throw new IllegalArgumentException(name + ": " + value + " (expected: a text)");
    }
    return value.textValue();
  }

  private static int number(JsonNode json, String name) {
    JsonNode value = json.path(name);
    if (!value.isInt()) {
      throw new IllegalArgumentException(name + ": " + value + " (expected: a whole number)");
    }
    return value.intValue();
  }
}
