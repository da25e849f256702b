package ai.sluice.eval.perf;

import ai.sluice.api.InvalidRequestException;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalLong;

/**
 * Speeds of a model under load, as {@code perf.json} of a run's folder has them. Immutable.
 *
 * @param environment model, hardware, versions, date; by name
 * @param promptTokens tokens of each prompt
 * @param newTokens tokens that each request generates
 * @param levels by concurrency, in the order in which they were measured
 */
public record PerfReport(
    Map<String, String> environment,
    int promptTokens,
    int newTokens,
    List<Level> levels) {
  /** Its file in a run's folder. */
  public static final String FILE = "perf.json";

  private static final ObjectMapper JSON = new ObjectMapper();

  /**
   * Milliseconds of one quantity.
   *
   * @param median of all samples
   * @param p99 below which 99 % of them lie
   */
  public record Latency(double median, double p99) {}

  /**
   * What was drawn from the supply, of all that the source covers.
   *
   * @param source who told, and of what; empty if nobody
   * @param joules while the requests ran; empty if nobody tells
   * @param reason why nobody tells; empty if someone does
   */
  public record Energy(String source, OptionalDouble joules, String reason) {
    /** Told by a source. */
    public static Energy told(String source, double joules) {
      return new Energy(source, OptionalDouble.of(joules), "");
    }

    /** Not told, and why. */
    public static Energy notTold(String reason) {
      return new Energy("", OptionalDouble.empty(), reason);
    }
  }

  /**
   * A number of requests that were open all the time.
   *
   * @param concurrency that number
   * @param requests that were measured
   * @param warmUp requests before these, which do not count
   * @param seconds from the first measured request's start to the last one's end
   * @param firstToken from a request's start to its first token
   * @param perToken of a request, from its first to its last token, a token
   * @param tokensPerSecond new tokens of all requests in these seconds, a second
   * @param kvBytes most bytes of the KV cache that sequences used; empty if not seen
   * @param energy of the time of {@code seconds}
   */
  public record Level(
      int concurrency,
      int requests,
      int warmUp,
      double seconds,
      Latency firstToken,
      Latency perToken,
      double tokensPerSecond,
      OptionalLong kvBytes,
      Energy energy) {
    /** New tokens for each joule, prompts' work included; empty if energy is not told. */
    public OptionalDouble tokensPerJoule() {
      return energy.joules().isPresent() && energy.joules().getAsDouble() > 0
          ? OptionalDouble.of(tokensPerSecond * seconds / energy.joules().getAsDouble())
          : OptionalDouble.empty();
    }
  }

  /** Copies the collections. */
  public PerfReport {
    environment = Collections.unmodifiableMap(new LinkedHashMap<>(environment));
    levels = List.copyOf(levels);
  }

  /**
   * That of a run's folder, if it has one.
   *
   * @throws InvalidRequestException if the file is damaged or cannot be read
   */
  public static Optional<PerfReport> read(Path folder) {
    Path file = folder.resolve(FILE);
    if (!Files.exists(file)) {
      return Optional.empty();
    }
    try {
      return Optional.of(fromJson(JSON.readTree(Files.readAllBytes(file))));
    } catch (IllegalArgumentException | JsonProcessingException e) {
      throw new InvalidRequestException(
          file + ": " + e.getMessage() + " (remedy: eval perf --out " + folder + " once more)", e);
    } catch (IOException e) {
      throw new InvalidRequestException(file + ": cannot be read: " + e.getMessage(), e);
    }
  }

  /**
   * Writes it to a run's folder, which is made if it is not there; an older one is replaced at
   * once.
   *
   * @throws IOException if it cannot be written
   */
  public void write(Path folder) throws IOException {
    Files.createDirectories(folder);
    Path part = folder.resolve(FILE + ".part");
    try {
      Files.writeString(part, json());
      Files.move(part, folder.resolve(FILE), StandardCopyOption.REPLACE_EXISTING);
    } finally {
      Files.deleteIfExists(part);
    }
  }

  /** As JSON, indented, with a line feed. */
  public String json() {
    ObjectNode out = JSON.createObjectNode();
    out.set("environment", JSON.valueToTree(environment));
    out.put("prompt_tokens", promptTokens).put("new_tokens", newTokens);
    ArrayNode list = out.putArray("levels");
    for (Level level : levels) {
      ObjectNode each = list.addObject();
      each.put("concurrency", level.concurrency()).put("requests", level.requests());
      each.put("warm_up_requests", level.warmUp());
      each.put("seconds", level.seconds());
      put(each.putObject("ttft_ms"), level.firstToken());
      put(each.putObject("tpot_ms"), level.perToken());
      each.put("tokens_per_second", level.tokensPerSecond());
      level.kvBytes().ifPresent(bytes -> each.put("kv_bytes", bytes));
      ObjectNode energy = each.putObject("energy");
      if (level.energy().joules().isPresent()) {
        energy.put("source", level.energy().source());
        energy.put("joules", level.energy().joules().getAsDouble());
        level
            .tokensPerJoule()
            .ifPresent(tokens -> energy.put("tokens_per_joule", tokens));
      } else {
        energy.put("not_told", level.energy().reason());
      }
    }
    return out.toPrettyString() + "\n";
  }

  private static void put(ObjectNode out, Latency latency) {
    out.put("median", latency.median()).put("p99", latency.p99());
  }

  private static PerfReport fromJson(JsonNode json) {
    Map<String, String> environment = new LinkedHashMap<>();
    json.path("environment").fields().forEachRemaining(
        entry -> environment.put(entry.getKey(), entry.getValue().asText()));
    List<Level> levels = new ArrayList<>();
    for (JsonNode level : json.path("levels")) {
      JsonNode energy = level.path("energy");
      levels.add(
          new Level(
              (int) number(level, "concurrency"), (int) number(level, "requests"),
              (int) number(level, "warm_up_requests"), number(level, "seconds"),
              latency(level.path("ttft_ms")), latency(level.path("tpot_ms")),
              number(level, "tokens_per_second"),
              level.has("kv_bytes")
                  ? OptionalLong.of(level.path("kv_bytes").asLong())
                  : OptionalLong.empty(),
              energy.has("joules")
                  ? Energy.told(energy.path("source").asText(), number(energy, "joules"))
                  : Energy.notTold(energy.path("not_told").asText())));
    }
    if (levels.isEmpty()) {
      throw new IllegalArgumentException("levels: none (expected: at least one)");
    }
    return new PerfReport(
        environment,
        (int) number(json, "prompt_tokens"),
        (int) number(json, "new_tokens"),
        levels);
  }

  private static Latency latency(JsonNode json) {
    return new Latency(number(json, "median"), number(json, "p99"));
  }

  private static double number(JsonNode json, String name) {
    JsonNode value = json.path(name);
    if (!value.isNumber()) {
      throw new IllegalArgumentException(name + ": " + value + " (expected: a number)");
    }
    return value.doubleValue();
  }
}
