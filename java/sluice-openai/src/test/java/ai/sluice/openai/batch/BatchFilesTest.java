package ai.sluice.openai.batch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.openai.Results;
import ai.sluice.openai.ServedModel;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** What a batch makes of the files that it finds. */
@Timeout(60)
class BatchFilesTest extends BatchFolder {
  @Test
  void anOutputCutAnywhereIsContinued() throws IOException {
    lines(4);
    try (FakeEngine engine = new FakeEngine(1)) {
      run(engine);
      byte[] whole = Files.readAllBytes(output);
      Map<String, JsonNode> expected = answers();
      for (int cut = 0; cut <= whole.length; cut += 29) {
        Files.write(output, Arrays.copyOf(whole, cut));
        run(engine);
        Map<String, JsonNode> answers = answers();
        assertEquals(expected.keySet(), answers.keySet(), "cut at " + cut);
        expected.forEach((id, line) -> assertEquals(text(line), text(answers.get(id))));
      }
    }
  }

  @Test
  void badLinesHaveTheirLine() throws IOException {
    String[] bad = {
      "{", "[]", "{\"body\":{}}", "{\"custom_id\":5,\"body\":{}}", "{\"custom_id\":\"\",\"body\":{}}",
      "{\"custom_id\":\"" + "x".repeat(513) + "\",\"body\":{}}",
      "{\"custom_id\":\"\\ud800\",\"body\":{}}", "{\"custom_id\":\"a\"}",
      "{\"custom_id\":\"b\",\"body\":[]}", "{\"custom_id\":\"c\",\"body\":{},\"more\":1}",
      "{\"custom_id\":\"d\",\"method\":\"GET\",\"body\":{}}",
      "{\"custom_id\":\"e\",\"url\":\"/v1/embeddings\",\"body\":{}}",
      "{\"custom_id\":\"f\",\"url\":7,\"body\":{}}", line("a", "used"), "{\"custom_id\":NaN}",
      "{\"a\":" + "[".repeat(10_000) + "]".repeat(10_000) + "}"
    };
    Files.write(input, List.of(bad));
    Files.write(input, new byte[] {(byte) 0xff, '\n'}, StandardOpenOption.APPEND);
    try (FakeEngine engine = new FakeEngine(4)) {
      BatchStatus status = run(engine);
      assertEquals(bad.length + 1, status.failed());
      assertEquals(0, engine.submitted.size());
    }
    List<String> lines = Files.readAllLines(output);
    assertEquals(bad.length + 1, lines.size());
    for (int i = 0; i < lines.size(); i++) {
      JsonNode node = MAPPER.readTree(lines.get(i));
      assertEquals(i + 1, node.at("/error/line").asInt(), lines.get(i));
      assertTrue(node.get("response").isNull());
      assertTrue(node.at("/error/message").asText().contains(" (expected: "), lines.get(i));
      assertTrue(lines.get(i).length() < 600, lines.get(i));
    }
    assertEquals("a", MAPPER.readTree(lines.get(7)).get("custom_id").asText());
    assertEquals(
        "duplicate_custom_id", MAPPER.readTree(lines.get(13)).at("/error/code").asText());
  }

  @Test
  void aLineThatIsTooLongIsNotKept() throws IOException {
    byte[] part = new byte[1 << 20];
    Arrays.fill(part, (byte) 'a');
    for (int i = 0; i < 65; i++) {
      Files.write(input, part, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    }
    Files.writeString(input, "\n\n" + line("b", "b"), StandardOpenOption.APPEND);
    try (FakeEngine engine = new FakeEngine(4)) {
      assertEquals(1, run(engine).answered());
    }
    JsonNode bad = MAPPER.readTree(Files.readAllLines(output).get(0));
    assertEquals("line_too_long", bad.at("/error/code").asText());
    assertEquals(
        "line: 68157440 bytes (expected: at most 67108864)", bad.at("/error/message").asText());
    try (FakeEngine engine = new FakeEngine(4)) {
      assertEquals(2, run(engine).before());
    }
  }

  @Test
  void linesMayBeAddedButNotChanged() throws IOException {
    lines(10);
    try (FakeEngine engine = new FakeEngine(4)) {
      run(engine);
      Files.writeString(input, line("more", "more") + "\n", StandardOpenOption.APPEND);
      BatchStatus status = run(engine);
      assertEquals(10, status.before());
      assertEquals(1, status.answered());
      lines(5);
      InvalidRequestException fewer =
          assertThrows(InvalidRequestException.class, () -> run(engine));
      assertTrue(fewer.getMessage().contains("has only 5 of the 11 lines"), fewer.getMessage());
      ServedModel other = new ServedModel(Set.of("tiny"), "fp_2", Optional.empty());
      lines(10);
      Files.writeString(input, line("more", "more") + "\n", StandardOpenOption.APPEND);
      try (BatchRun run = BatchRun.open(input, output, BatchOptions.defaults())) {
        assertThrows(
            InvalidRequestException.class, () -> run.run(List.of(engine), other, s -> {}));
      }
    }
    assertEquals(11, answers().size());
  }

  @Test
  void anOutputHasOneWriter() throws IOException {
    lines(1);
    try (BatchRun run = BatchRun.open(input, output, BatchOptions.defaults())) {
      BatchException second =
          assertThrows(
              BatchException.class, () -> BatchRun.open(input, output, BatchOptions.defaults()));
      assertTrue(second.getMessage().contains("written by another process"));
    }
  }

  @Test
  void theInputIsNeverTheOutput() throws IOException {
    lines(1);
    byte[] before = Files.readAllBytes(input);
    BatchOptions restart = new BatchOptions(true, 0, Optional.empty(), 0);
    assertThrows(InvalidRequestException.class, () -> BatchRun.open(input, input, restart));
    Path link = Files.createSymbolicLink(folder.resolve("link"), input);
    assertThrows(InvalidRequestException.class, () -> BatchRun.open(input, link, restart));
    assertEquals(
        new String(before, StandardCharsets.UTF_8), Files.readString(input));
  }

  @Test
  void anInputThatIsCutMeanwhileIsToldAndNothingIsLost() throws IOException {
    lines(15_000);
    long size = Files.size(input);
    CountDownLatch go = new CountDownLatch(1);
    try (FakeEngine engine =
            new FakeEngine(
                2,
                request -> {
                  awaitQuietly(go);
                  return Results.answer(FakeEngine.turned(request));
                });
        BatchRun run = BatchRun.open(input, output, BatchOptions.defaults())) {
      byte[] all = Files.readAllBytes(input);
      Files.write(input, Arrays.copyOf(all, (int) size / 2));
      go.countDown();
      BatchException cut =
          assertThrows(
              BatchException.class, () -> run.run(List.of(engine), MODEL, s -> {}));
      assertTrue(cut.getMessage().contains("it was cut while it was read"), cut.getMessage());
      Files.write(input, all);
    }
    try (FakeEngine engine = new FakeEngine(64)) {
      BatchStatus status = run(engine);
      assertEquals(15_000, status.before() + status.answered());
    }
    assertEquals(15_000, answers().size());
  }

  @Test
  void aByteOrderMarkAndCarriageReturnsAreNoMatter() throws IOException {
    Files.writeString(
        input, "\uFEFF" + line("a", "x") + "\r\n \t\r\n" + line("b", "y") + "\r\n");
    try (FakeEngine engine = new FakeEngine(4)) {
      assertEquals(2, run(engine).answered());
    }
  }

  @Test
  void emptyInputsGiveEmptyOutputs() throws IOException {
    Files.writeString(input, "");
    try (FakeEngine engine = new FakeEngine(4)) {
      assertEquals(0, run(engine).done());
    }
    assertEquals(0, Files.size(output));
  }
}
