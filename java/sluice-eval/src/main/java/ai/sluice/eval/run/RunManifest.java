package ai.sluice.eval.run;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

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
