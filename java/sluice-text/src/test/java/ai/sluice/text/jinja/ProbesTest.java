package ai.sluice.text.jinja;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** Every construct that a template may use, against what Python's jinja2 makes of it. */
class ProbesTest {
  private static final JsonNode GOLDEN = GoldenFiles.json("probes.json");

  @TestFactory
  Stream<DynamicTest> probesRenderAsInJinja2() {
    return StreamSupport.stream(GOLDEN.path("probes").spliterator(), false)
        .map(
            probe ->
                DynamicTest.dynamicTest(
                    "[" + probe.path("source").asText().replaceAll("\\s+", " ") + "]",
                    () -> check(probe)));
  }

  @Test
  void thereAreEnoughProbes() {
    long failing =
        StreamSupport.stream(GOLDEN.path("probes").spliterator(), false)
            .filter(probe -> probe.has("error"))
            .count();
    assertTrue(GOLDEN.path("probes").size() >= 250);
    assertTrue(failing >= 60);
  }

  private static void check(JsonNode probe) {
    String expected =
        probe.has("text")
            ? "text: " + probe.path("text").asText()
            : "error: " + probe.path("error").asText();
    assertEquals(expected, outcome(probe.path("source").asText()));
  }

  private static String outcome(String source) {
    Map<String, @Nullable Object> variables = new LinkedHashMap<>();
    GOLDEN
        .path("variables")
        .fields()
        .forEachRemaining(
            entry -> variables.put(entry.getKey(), GoldenFiles.value(entry.getValue())));
    try {
      return "text: "
          + Template.parse(source).render(variables, Limits.forInput(100, 1000), GoldenFiles.CLOCK);
    } catch (TemplateSyntaxException e) {
      return "error: syntax";
    } catch (TemplateRuntimeException e) {
      return "error: "
          + switch (e.kind()) {
            case UNDEFINED -> "undefined";
            case SECURITY -> "security";
            case RAISED -> "raised";
            case UNSUPPORTED -> "unknown";
            default -> "runtime";
          };
    }
  }
}
