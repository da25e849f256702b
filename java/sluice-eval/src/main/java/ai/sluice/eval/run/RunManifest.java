package ai.sluice.eval.run;

import ai.sluice.api.InvalidRequestException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * What a run was made with.
 *
 * @param identity what must be equal for a run to go on: hashes of weights, tokenizer, template and
 *     data, dtype, seed, settings; by name
 * @param environment what may differ and is told: versions, hardware, dates; by name
 * @param tasks what was asked for, in order
 */
public record RunManifest(
    Map<String, String> identity, Map<String, String> environment, List<Task> tasks) {
  /**
   * A task of a run.
   *
   * @param name as it was asked for
   * @param version of its prompts and scores
   * @param shots worked examples before each question
   * @param items how many there are to do, after limits
   */
  public record Task(String name, String version, int shots, int items) {}

  /** Copies the collections, in their order. */
  public RunManifest {
    identity = Collections.unmodifiableMap(new LinkedHashMap<>(identity));
    environment = Collections.unmodifiableMap(new LinkedHashMap<>(environment));
    tasks = List.copyOf(tasks);
  }

  /**
   * Requires that a run of this manifest may go on with another's identity and tasks.
   *
   * @param now what it would go on with
   * @param folder of the run, for the message
   * @throws InvalidRequestException naming the first field that differs
   */
  public void requireSame(RunManifest now, Path folder) {
    Map<String, String> before = fields();
    Map<String, String> after = now.fields();
    Set<String> names = new LinkedHashSet<>(before.keySet());
    names.addAll(after.keySet());
    for (String name : names) {
      String was = before.getOrDefault(name, "none");
      String is = after.getOrDefault(name, "none");
      if (!was.equals(is)) {
        throw new InvalidRequestException(
            name + ": " + is + " (expected: " + was + ", with which the run in " + folder
                + " was begun; remedy: --out another folder, or --restart to give it up)");
      }
    }
  }

  // Identity with what was asked for, so that a refusal names any of them.
  private Map<String, String> fields() {
    Map<String, String> out = new LinkedHashMap<>(identity);
    out.put("tasks", String.join(",", tasks.stream().map(Task::name).toList()));
    for (Task task : tasks) {
      out.put(task.name() + ".version", task.version());
      out.put(task.name() + ".num_fewshot", String.valueOf(task.shots()));
      out.put(task.name() + ".items", String.valueOf(task.items()));
    }
    return out;
  }

  /** As JSON. */
  public ObjectNode toJson() {
    ObjectNode out = ItemRecord.JSON.createObjectNode();
    out.set("identity", ItemRecord.JSON.valueToTree(identity));
    out.set("environment", ItemRecord.JSON.valueToTree(environment));
    ArrayNode list = out.putArray("tasks");
    for (Task task : tasks) {
      list.addObject()
          .put("name", task.name())
          .put("version", task.version())
          .put("shots", task.shots())
          .put("items", task.items());
    }
    return out;
  }

  /** From JSON; what is missing is empty. */
  public static RunManifest fromJson(JsonNode json) {
    List<Task> tasks = new ArrayList<>();
    for (JsonNode task : json.path("tasks")) {
      tasks.add(
          new Task(
              task.path("name").asText(), task.path("version").asText(),
              task.path("shots").asInt(), task.path("items").asInt()));
    }
    return new RunManifest(texts(json.path("identity")), texts(json.path("environment")), tasks);
  }

  private static Map<String, String> texts(JsonNode json) {
    Map<String, String> out = new LinkedHashMap<>();
    json.fields().forEachRemaining(
        entry -> out.put(entry.getKey(), entry.getValue().asText()));
    return out;
  }
}
