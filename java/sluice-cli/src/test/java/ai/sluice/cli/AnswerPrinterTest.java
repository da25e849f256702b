package ai.sluice.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.Chunk;
import ai.sluice.api.ChunkKind;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ToolCallDelta;
import ai.sluice.api.ToolDefinition;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class AnswerPrinterTest {
  private final ByteArrayOutputStream out = new ByteArrayOutputStream();
  private final ByteArrayOutputStream err = new ByteArrayOutputStream();

  private AnswerPrinter printer(boolean terminal, Map<String, String> environment) {
    return new AnswerPrinter(
        new Console(InputStream.nullInputStream(), out, err, environment, false, terminal));
  }

  private static Chunk text(ChunkKind kind, int index, String text) {
    return new Chunk(kind, index, text, List.of(), List.of());
  }

  private static Chunk call(int call, String name, String arguments) {
    Optional<String> id = name.isEmpty() ? Optional.empty() : Optional.of("id");
    return new Chunk(
        ChunkKind.TOOL_CALL, 0, "", List.of(), List.of(),
        Optional.of(
            new ToolCallDelta(
                call, id, name.isEmpty() ? Optional.empty() : Optional.of(name), arguments)));
  }

  private void answer(AnswerPrinter printer) {
    printer.accept(text(ChunkKind.REASONING, 0, "hm"));
    printer.accept(text(ChunkKind.REASONING, 1, "another"));
    printer.accept(text(ChunkKind.REASONING, 0, " so"));
    printer.accept(text(ChunkKind.ANSWER, 0, "Yes."));
    printer.accept(text(ChunkKind.ANSWER, 1, "another"));
    printer.accept(call(0, "f", ""));
    printer.accept(call(0, "", "{\"x\":"));
    printer.accept(call(0, "", "1}"));
    printer.accept(call(1, "g", "{}"));
    printer.accept(text(ChunkKind.ANSWER, 0, "After."));
    printer.endReasoning();
  }

  private String err() {
    return err.toString(StandardCharsets.UTF_8);
  }

  @Test
  void reasoningGoesBesideTheAnswer() {
    answer(printer(false, Map.of()));
    assertEquals(
        "Yes.\nf {\"x\":1}\ng {}\nAfter.", out.toString(StandardCharsets.UTF_8));
    assertEquals("hm so\n\n", err());
  }

  @Test
  void aTerminalDimsIt() {
    answer(printer(true, Map.of()));
    assertEquals("\u001b[2mhm so\u001b[0m\n\n", err());
    err.reset();
    answer(printer(true, Map.of("NO_COLOR", "1")));
    assertEquals("hm so\n\n", err());
  }

  @Test
  void anAnswerThatEndsWithinReasoningLeavesNoColour() {
    AnswerPrinter printer = printer(true, Map.of());
    printer.accept(text(ChunkKind.REASONING, 0, "hm"));
    printer.endReasoning();
    assertEquals("\u001b[2mhm\u001b[0m\n\n", err());
  }

  @Test
  void toolsAreReadFromAFile(@TempDir Path folder) throws Exception {
    Path file = folder.resolve("tools.json");
    Files.writeString(
        file, "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{}}}]");
    List<ToolDefinition> tools = ToolFile.read(file.toString());
    assertEquals(Map.of("name", "f", "parameters", Map.of()), tools.get(0).json().get("function"));
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "null", "{}", "[null]", "[{}]", "[1]", "[{\"function\":{}}]", "[{"})
  void otherFilesAreRefused(String text, @TempDir Path folder) throws Exception {
    Path file = folder.resolve("tools.json");
    Files.writeString(file, text);
    InvalidRequestException e =
        assertThrows(InvalidRequestException.class, () -> ToolFile.read(file.toString()));
    assertTrue(e.getMessage().startsWith("--tools: "), e.getMessage());
    assertTrue(e.getMessage().contains("(expected: "), e.getMessage());
  }
}
