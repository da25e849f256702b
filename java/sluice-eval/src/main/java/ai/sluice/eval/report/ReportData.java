package ai.sluice.eval.report;

import ai.sluice.eval.EvalAnswer;
import ai.sluice.eval.run.EvalRun;
import ai.sluice.eval.run.ItemKey;
import ai.sluice.eval.run.ItemRecord;
import ai.sluice.eval.run.ItemTiming;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/** The items of a run as the report's page reads them: short rows, so that thousands fit. */
final class ReportData {
  private static final ObjectMapper JSON = new ObjectMapper();

  private ReportData() {}

  /** JSON that may stand inside a page's script element. */
  static String json(EvalRun run, Map<ItemKey, ItemTiming> timings) {
    List<String> tasks =
        new ArrayList<>(new TreeSet<>(run.items().keySet().stream().map(ItemKey::task).toList()));
    ObjectNode out = JSON.createObjectNode();
    tasks.forEach(out.putArray("tasks")::add);
    ArrayNode headers = out.putArray("headers");
    for (String task : tasks) {
      headers.add(header(run, task));
    }
    ArrayNode items = out.putArray("items");
    for (ItemRecord item : run.items().values()) {
      items.add(row(item, tasks.indexOf(item.task()), timings.get(item.key())));
    }
    try {
      // Neither a tag nor a comment can begin in it.
      return JSON.writeValueAsString(out).replace("<", "\\u003c").replace("\u2028", "\\u2028");
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("report: not written (a defect of Sluice)", e);
    }
  }

  private static ArrayNode row(ItemRecord item, int task, @Nullable ItemTiming timing) {
    ArrayNode row = JSON.createArrayNode();
    row.add(task).add(item.index()).add(item.question()).add(item.target());
    item.answer().texts().forEach(row.addArray()::add);
    row.add(JSON.valueToTree(item.scores().filtered()));
    row.add(JSON.valueToTree(item.scores().metrics()));
    ArrayNode choices = row.addArray();
    for (EvalAnswer.Choice choice : item.answer().choices()) {
      choices.addArray().add(choice.logprob()).add(choice.greedy() ? 1 : 0);
    }
    if (timing == null) {
      row.addNull().addNull();
    } else {
      row.addArray()
          .add(timing.promptTokens())
          .add(timing.cachedTokens())
          .add(timing.newTokens());
      row.add(timing.seconds());
    }
    item.scores().verdicts().forEach(row.addArray()::add);
    return row;
  }

  /** What stands before every question of a task; empty where it differs or is not known. */
  private static String header(EvalRun run, String task) {
    Path file = run.folder().resolve(SamplesFile.name(task));
    if (!Files.exists(file)) {
      return "";
    }
    String shared = null;
    Set<Integer> seen = new HashSet<>();
    try (BufferedReader reader = Files.newBufferedReader(file)) {
      String line;
      // Two items tell: examples that are drawn for each item differ from the second one on.
      while (seen.size() < 2 && (line = reader.readLine()) != null) {
        JsonNode row = JSON.readTree(line);
        int index = row.path("doc_id").asInt();
        if (!seen.add(index)) {
          continue; // Another filter's line.
        }
        ItemRecord item = run.items().get(new ItemKey(task, index));
        String prompt = row.at("/arguments/gen_args_0/arg_0").asText();
        if (item == null || !prompt.endsWith(item.question())) {
          return "";
        }
        String own = prompt.substring(0, prompt.length() - item.question().length());
        if (shared != null && !shared.equals(own)) {
          return "";
        }
        shared = own;
      }
    } catch (IOException e) {
      return ""; // The page does without; eval verify tells what is wrong with the file.
    }
    return shared == null ? "" : shared;
  }
}
