package ai.sluice.eval.report;

import ai.sluice.eval.EvalAnswer;
import ai.sluice.eval.run.ItemRecord;
import ai.sluice.eval.run.SentPrompt;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * {@code samples_TASK.jsonl}: a line for each item and filter with the keys of lm-eval 0.4.13's
 * files, numbers inside responses as texts, as there.
 */
final class SamplesFile {
  private static final ObjectMapper JSON = new ObjectMapper();

  private SamplesFile() {}

  /** The name of a task's file. */
  static String name(String task) {
    return "samples_" + task + ".jsonl";
  }

  /**
   * The lines of an item, each with its line feed.
   *
   * @param sent what the model was asked; null where that is not known
   * @param earlier a line of the same item that was written when it was; null if there is none.
   *     Without both a line has no arguments and only the beginning of the prompt's hash
   */
  static List<String> lines(
      ItemRecord item, @Nullable SentPrompt sent, @Nullable JsonNode earlier) {
    List<String> out = new ArrayList<>();
    for (String filter : filters(item)) {
      ObjectNode row = JSON.createObjectNode();
      row.put("doc_id", item.index());
      row.set("doc", JSON.valueToTree(item.doc()));
      row.put("target", item.target());
      boolean known = sent == null && earlier != null;
      row.set("arguments", known ? earlier.path("arguments") : arguments(sent));
      responses(item, filter, row);
      row.put("filter", filter);
      ArrayNode names = row.putArray("metrics");
      Map<String, Double> metrics = item.scores().metrics();
      metrics.forEach((name, value) -> {
        if (name.endsWith("," + filter)) {
          names.add(metric(name));
        }
      });
      row.put("doc_hash", PythonRepr.sha256(PythonRepr.json(item.doc())));
      row.put(
          "prompt_hash",
          known
              ? earlier.path("prompt_hash").asText()
              : sent == null ? item.promptHash() : PythonRepr.sha256(sent.prompt()));
      row.put("target_hash", PythonRepr.sha256(item.target()));
      metrics.forEach((name, value) -> {
        if (name.endsWith("," + filter)) {
          row.put(metric(name), value);
        }
      });
      out.add(written(row));
    }
    return out;
  }

  private static String metric(String name) {
    return name.substring(0, name.lastIndexOf(','));
  }

  // An item that is not judged has no filters yet; its answer is told all the same.
  private static List<String> filters(ItemRecord item) {
    List<String> out = new ArrayList<>();
    for (String name : item.scores().metrics().keySet()) {
      String filter = name.substring(name.lastIndexOf(',') + 1);
      if (!out.contains(filter)) {
        out.add(filter);
      }
    }
    return out.isEmpty() ? List.of("none") : out;
  }

  private static ObjectNode arguments(@Nullable SentPrompt sent) {
    ObjectNode out = JSON.createObjectNode();
    if (sent == null) {
      return out;
    }
    if (sent.continuations().isEmpty()) {
      ObjectNode settings =
          out.putObject("gen_args_0").put("arg_0", sent.prompt()).putObject("arg_1");
      sent.settings().stops().forEach(settings.putArray("until")::add);
      settings.put("max_gen_toks", sent.settings().maxNewTokens());
      settings.put("do_sample", false).put("temperature", 0.0);
      return out;
    }
    for (int i = 0; i < sent.continuations().size(); i++) {
      out.putObject("gen_args_" + i)
          .put("arg_0", sent.prompt())
          .put("arg_1", sent.continuations().get(i));
    }
    return out;
  }

  private static void responses(ItemRecord item, String filter, ObjectNode row) {
    ArrayNode raw = JSON.createArrayNode();
    ArrayNode filtered = JSON.createArrayNode();
    for (EvalAnswer.Choice choice : item.answer().choices()) {
      for (ArrayNode pair : List.of(raw.addArray().addArray(), filtered.addArray())) {
        pair.add(PythonRepr.number(choice.logprob())).add(choice.greedy() ? "True" : "False");
      }
    }
    if (item.answer().choices().isEmpty()) {
      item.answer().texts().forEach(raw.addArray()::add);
      String found = item.scores().filtered().get(filter);
      if (found != null) {
        filtered.add(found);
      }
    }
    row.set("resps", raw);
    row.set("filtered_resps", filtered);
  }

  private static String written(ObjectNode row) {
    try {
      return JSON.writeValueAsString(row) + "\n";
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("samples: not written (a defect of Sluice)", e);
    }
  }
}
