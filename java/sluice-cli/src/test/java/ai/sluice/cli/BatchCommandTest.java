package ai.sluice.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Batches on the real engine with a model of a few kilobytes. */
@Timeout(120)
class BatchCommandTest {
  private static final String TINY = GoldenFiles.TINY_CHAT.toString();

  @TempDir Path home;
  private Path input;
  private Path output;

  @BeforeEach
  void paths() {
    input = home.resolve("in.jsonl");
    output = home.resolve("out.jsonl");
  }

  private CliRun batch(String... more) {
    Stream<String> usual =
        Stream.of("batch", "-i", input.toString(), "-o", output.toString(), "-m", TINY);
    return CliRun.of(home, Stream.concat(usual, Stream.of(more)).toArray(String[]::new));
  }

  private static String chat(String id, String text, String more) {
    return "{\"custom_id\":\"" + id + "\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\","
        + "\"body\":{\"messages\":[{\"role\":\"user\",\"content\":\"" + text
        + "\"}],\"max_tokens\":5,\"temperature\":0" + more + "}}";
  }

  /** The output line of an id. */
  private String answer(String id) throws IOException {
    List<String> found =
        Files.readAllLines(output).stream()
            .filter(line -> line.contains("\"custom_id\":\"" + id + "\""))
            .toList();
    assertEquals(1, found.size(), id);
    return found.get(0);
  }

  @Test
  void everyLineGetsItsLine() throws IOException {
    Files.write(
        input,
        List.of(
            chat("a", "the sky", ""),
            "{\"custom_id\":\"b\",\"url\":\"/v1/completions\",\"body\":{\"prompt\":[\"the\",\" sky\"],"
                + "\"max_tokens\":3,\"temperature\":0,\"echo\":true,\"model\":\"tiny_chat.gguf\"}}",
            "",
            "no JSON",
            chat("a", "again", ""),
            chat("c", "x", ",\"temprature\":1"),
            chat("d", "a".repeat(400), "")));
    CliRun run = batch();
    assertEquals(0, run.code(), run.err());
    assertEquals("", run.out());
    assertEquals(6, Files.readAllLines(output).size());
    CliRun alone =
        CliRun.of(
            home, "generate", "-m", TINY, "-t", "0", "-n", "5", "--json", "the sky");
    assertEquals(
        Json.at(alone.out(), "/text"),
        Json.at(answer("a"), "/response/body/choices/0/message/content"));
    assertEquals("200", Json.at(answer("a"), "/response/status_code"));
    assertEquals("tiny_chat.gguf", Json.at(answer("b"), "/response/body/model"));
    String text = Json.at(answer("b"), "/response/body/choices/1/text");
    assertTrue(text.startsWith(" sky") && text.length() > 4, text);
    assertEquals("temprature", Json.at(answer("c"), "/response/body/error/param"));
    assertEquals("400", Json.at(answer("c"), "/response/status_code"));
    assertEquals(
        "context_length_exceeded", Json.at(answer("d"), "/response/body/error/code"));
    List<String> bad =
        Files.readAllLines(output).stream().filter(l -> l.contains("\"response\":null")).toList();
    assertEquals(2, bad.size());
    assertEquals("4", Json.at(bad.get(0), "/error/line"));
    assertEquals("duplicate_custom_id", Json.at(bad.get(1), "/error/code"));
    assertTrue(run.err().startsWith("2 lines answered, 4 failed in "), run.err());
  }

  @Test
  void promptsAreScoredAsHarnessesAsk() throws IOException {
    String body =
        "\"max_tokens\":1,\"logprobs\":1,\"echo\":true,\"temperature\":0,\"seed\":1234}}";
    Files.write(
        input,
        List.of(
            "{\"custom_id\":\"ids\",\"body\":{\"prompt\":[[10,20,30],[40,50]]," + body,
            "{\"custom_id\":\"text\",\"body\":{\"prompt\":\"the sky\"," + body,
            "{\"custom_id\":\"one\",\"body\":{\"prompt\":[10],"
                + body.replace("max_tokens\":1", "max_tokens\":0")));
    CliRun run = batch();
    assertEquals(0, run.code(), run.err());
    assertTrue(run.err().startsWith("3 lines answered, 0 failed"), run.err());
    String ids = answer("ids");
    String first = "/response/body/choices/0/logprobs/";
    assertEquals("null", Json.at(ids, first + "token_logprobs/0"));
    assertEquals("null", Json.at(ids, first + "top_logprobs/0"));
    for (int i = 1; i < 4; i++) {
      double logprob = Double.parseDouble(Json.at(ids, first + "token_logprobs/" + i));
      assertTrue(logprob < 0, ids);
      assertTrue(Json.at(ids, first + "top_logprobs/" + i).startsWith("{\""), ids);
    }
    assertEquals(
        Json.at(ids, first + "tokens/0").length(), Json.intAt(ids, first + "text_offset/1"));
    assertTrue(
        Double.parseDouble(Json.at(ids, "/response/body/choices/1/logprobs/token_logprobs/2")) < 0,
        ids);
    String text = Json.at(answer("text"), "/response/body/choices/0/text");
    assertTrue(text.startsWith("the sky") && text.length() > 7, text);
    assertEquals("[null]", Json.at(answer("one"), first + "token_logprobs"));
    assertEquals(0, Json.intAt(answer("one"), "/response/body/usage/completion_tokens"));
  }

  @Test
  void answersKeepToASchema() throws IOException {
    String schema =
        "{\"type\":\"object\",\"properties\":{\"a\":{\"enum\":[1,22]}},\"required\":[\"a\"],"
            + "\"additionalProperties\":false}";
    Files.write(
        input,
        List.of(
            chat(
                "a",
                "hi",
                ",\"n\":2,\"max_completion_tokens\":40,\"response_format\":{\"type\":"
                    + "\"json_schema\",\"json_schema\":{\"name\":\"x\",\"schema\":" + schema
                    + "}}")
                .replace("\"max_tokens\":5,", ""),
            chat("b", "hi", ",\"response_format\":{\"type\":\"regex\",\"pattern\":\"(\"}")));
    CliRun run = batch();
    assertEquals(0, run.code(), run.err());
    for (int i = 0; i < 2; i++) {
      String content =
          Json.at(answer("a"), "/response/body/choices/" + i + "/message/content");
      assertTrue(content.matches("\\{\\s*\"a\"\\s*:\\s*(1|22)\\s*\\}"), content);
    }
    assertEquals("400", Json.at(answer("b"), "/response/status_code"));
    assertEquals("response_format", Json.at(answer("b"), "/response/body/error/param"));
  }

  @Test
  void aCutOutputIsFinished() throws IOException {
    List<String> lines = new ArrayList<>();
    for (int i = 0; i < 20; i++) {
      lines.add(chat("id" + i, "the sky " + i, ""));
    }
    Files.write(input, lines);
    assertEquals(0, batch().code());
    List<String> whole = Files.readAllLines(output);
    String first = whole.get(0);
    Files.writeString(output, first + "\n" + whole.get(1).substring(0, 70));
    CliRun run = batch();
    assertEquals(0, run.code(), run.err());
    assertTrue(run.err().contains("answered already: 1\n"), run.err());
    assertEquals(20, Files.readAllLines(output).size());
    assertEquals(first, Files.readAllLines(output).get(0));
    for (String line : whole) {
      String id = Json.at(line, "/custom_id");
      assertEquals(
          Json.at(line, "/response/body/choices/0/message/content"),
          Json.at(answer(id), "/response/body/choices/0/message/content"));
    }
    assertEquals(0, batch("--restart", "--seed", "1").code());
    assertEquals(20, Files.readAllLines(output).size());
  }

  @Test
  void whatWasBegunOtherwiseIsRefused() throws IOException {
    Files.write(input, List.of(chat("a", "x", ""), chat("b", "y", "")));
    assertEquals(0, batch().code());
    CliRun seed = batch("--seed", "7");
    assertEquals(2, seed.code());
    assertTrue(seed.err().contains("begun with another model or other options"), seed.err());
    Files.write(input, List.of(chat("a", "x", ""), chat("b", "z", "")));
    CliRun other = batch();
    assertEquals(2, other.code());
    assertTrue(other.err().contains("line 2 is not the line"), other.err());
    Files.writeString(output, "a list of my own\n");
    CliRun foreign = batch();
    assertEquals(2, foreign.code());
    assertTrue(foreign.err().contains("line 1 is no answer of a batch"), foreign.err());
    assertEquals("a list of my own\n", Files.readString(output));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--timeout 0      | 2 | timeout: PT0S (expected: above zero)",
        "--retries -1     | 2 | retries: -1 (expected: 0 to 100)",
        "--concurrency 0  | 2 | --concurrency: 0 (expected: 1 to 4096)",
        "-i nowhere.jsonl | 1 | nowhere.jsonl: not found (expected: a file of JSON lines)",
        "-o /no/such/file | 1 | /no/such/file: No such file or directory (expected: a file that",
        "-i /tmp          | 1 | /tmp: a folder (expected: a file of JSON lines)",
        "-o /tmp          | 1 | /tmp: no regular file (expected: a new file, or one that a batch",
        "-o /dev/full     | 1 | /dev/full: no regular file (expected: a new file, or one that",
      })
  void badArgumentsAreOneLine(String arguments, int code, String message) throws IOException {
    Files.write(input, List.of(chat("a", "x", "")));
    CliRun run = batch(arguments.split(" +"));
    assertEquals(code, run.code(), run.err());
    assertTrue(run.err().startsWith("sluice: " + message), run.err());
    assertEquals(1, run.errLines());
  }
}
