package ai.sluice.eval.report;

import ai.sluice.eval.run.EvalRun;
import ai.sluice.eval.run.RunManifest;
import ai.sluice.eval.run.TaskSummary;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamWriteFeature;
import com.fasterxml.jackson.core.util.DefaultIndenter;
import com.fasterxml.jackson.core.util.DefaultPrettyPrinter;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Map;

/**
 * {@code results.json}: the keys of lm-eval 0.4.13's, so that what reads those reads this, and the
 * intervals beside them. A function of the items and of what identifies the run: nothing in it
 * tells when or where it was made.
 */
final class ResultsJson {
  /** Of a group that lm-eval defines; its members have versions of their own. */
  private static final int GROUP_VERSION = 2;

  private static final ObjectMapper JSON =
      new ObjectMapper(
          JsonFactory.builder().enable(StreamWriteFeature.USE_FAST_DOUBLE_WRITER).build());

  private final ObjectNode out = JSON.createObjectNode();
  private final ObjectNode results = out.putObject("results");
  private final ObjectNode groups = JSON.createObjectNode();
  private final ObjectNode members = JSON.createObjectNode();
  private final ObjectNode versions = JSON.createObjectNode();
  private final ObjectNode shots = JSON.createObjectNode();
  private final ObjectNode directions = JSON.createObjectNode();
  private final ObjectNode sizes = JSON.createObjectNode();
  private final ObjectNode intervals = JSON.createObjectNode();

  private ResultsJson() {}

  /** The results of a run as far as it is judged. */
  static ObjectNode of(EvalRun run) {
    ResultsJson json = new ResultsJson();
    RunSummaries.of(run).forEach(json::add);
    if (!json.groups.isEmpty()) {
      json.out.set("groups", json.groups);
    }
    json.out.set("group_subtasks", json.members);
    json.out.set("versions", json.versions);
    json.out.set("n-shot", json.shots);
    json.out.set("higher_is_better", json.directions);
    json.out.set("n-samples", json.sizes);
    json.out.set("intervals_95", json.intervals);
    json.out.put("complete", run.isComplete());
    ObjectNode config = json.out.putObject("config");
    config.put("model", "sluice");
    config.set("model_args", JSON.valueToTree(run.manifest().identity()));
    return json.out;
  }

  /** The file's text. */
  static String text(EvalRun run) {
    DefaultIndenter indenter = new DefaultIndenter("  ", "\n");
    try {
      return JSON.writer(
                  new DefaultPrettyPrinter()
                      .withObjectIndenter(indenter)
                      .withArrayIndenter(indenter))
              .writeValueAsString(of(run))
          + "\n";
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("results: not written (a defect of Sluice)", e);
    }
  }

  private void add(RunManifest.Task task, TaskSummary summary) {
    ObjectNode entry = results.putObject(summary.task());
    entry.put("alias", MmluCategories.alias(task.name(), summary.task()));
    ObjectNode direction = directions.putObject(summary.task());
    ObjectNode bounds = intervals.putObject(summary.task());
    for (Map.Entry<String, TaskSummary.Estimate> metric : summary.metrics().entrySet()) {
      TaskSummary.Estimate estimate = metric.getValue();
      entry.put(metric.getKey(), estimate.mean());
      String error = metric.getKey().replaceFirst(",", "_stderr,");
      estimate
          .standardError()
          .ifPresentOrElse(value -> entry.put(error, value), () -> entry.put(error, "N/A"));
      direction.put(metric.getKey().replaceFirst(",.*", ""), true);
      bounds.putArray(metric.getKey())
          .add(estimate.interval().low())
          .add(estimate.interval().high());
    }
    sizes.putObject(summary.task()).put("effective", summary.size());
    if (summary.members().isEmpty()) {
      version(task.version(), summary.task());
      shots.put(summary.task(), task.shots());
      return;
    }
    versions.put(summary.task(), GROUP_VERSION);
    groups.set(summary.task(), entry.deepCopy());
    ArrayNode names = members.putArray(summary.task());
    for (TaskSummary member : summary.members()) {
      names.add(member.task());
      add(task, member);
    }
  }

  // lm-eval's versions are numbers.
  private void version(String version, String task) {
    try {
      versions.put(task, Double.parseDouble(version));
    } catch (NumberFormatException e) {
      versions.put(task, version);
    }
  }
}
