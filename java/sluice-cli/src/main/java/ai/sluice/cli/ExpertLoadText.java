package ai.sluice.cli;

import ai.sluice.api.ExpertLoad;
import com.fasterxml.jackson.core.JsonGenerator;
import java.io.IOException;
import java.util.Locale;

/** How evenly a model's experts were used, as a table or JSON. */
final class ExpertLoadText {
  private ExpertLoadText() {}

  /** A line for each layer with experts. */
  static String table(ExpertLoad load) {
    StringBuilder table = new StringBuilder();
    table.append("| layer | imbalance | last step | busiest expert | unused experts |\n");
    table.append("| ---: | ---: | ---: | ---: | ---: |\n");
    for (ExpertLoad.Layer layer : load.layers()) {
      table.append(
          String.format(
              Locale.ROOT, "| %d | %.2f | %.2f | %d (%d of %d) | %d of %d |%n", layer.layer(),
              layer.imbalance(), layer.lastStepImbalance(), layer.busiestExpert(),
              layer.tokens().get(layer.busiestExpert()), total(layer), layer.unusedExperts(),
              layer.tokens().size()));
    }
    return table.toString();
  }

  private static long total(ExpertLoad.Layer layer) {
    return layer.tokens().stream().mapToLong(Long::longValue).sum();
  }

  /** Writes the field {@code expert_load}. */
  static void write(JsonGenerator json, ExpertLoad load) throws IOException {
    json.writeObjectFieldStart("expert_load");
    json.writeNumberField("steps", load.steps());
    json.writeArrayFieldStart("layers");
    for (ExpertLoad.Layer layer : load.layers()) {
      json.writeStartObject();
      json.writeNumberField("layer", layer.layer());
      json.writeNumberField("imbalance", layer.imbalance());
      json.writeNumberField("last_step_imbalance", layer.lastStepImbalance());
      json.writeArrayFieldStart("tokens");
      for (long count : layer.tokens()) {
        json.writeNumber(count);
      }
      json.writeEndArray();
      json.writeEndObject();
    }
    json.writeEndArray();
    json.writeEndObject();
  }
}
