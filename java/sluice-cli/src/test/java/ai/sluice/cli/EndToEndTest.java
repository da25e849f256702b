package ai.sluice.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.checkpoint.SafetensorsFile;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Commands on the real engine with models of a few kilobytes. */
@Timeout(120)
class EndToEndTest {
  private static final String TINY = GoldenFiles.TINY_CHAT.toString();

  @TempDir Path home;

  private CliRun run(String... args) {
    return CliRun.of(home, args);
  }

  private int promptTokens(String... more) throws IOException {
    return Json.intAt(generate(more), "/usage/prompt_tokens");
  }

  private String tokens(String... more) throws IOException {
    return Json.at(generate(more), "/tokens");
  }

  /** Generates and returns the JSON object. */
  private String generate(String... more) throws IOException {
    Stream<String> all = Stream.of("generate", "-m", TINY, "--json", "-n", "5", "--seed", "1");
    CliRun run = run(Stream.concat(all, Arrays.stream(more)).toArray(String[]::new));
    assertEquals(0, run.code(), run.err());
    assertEquals(1, run.out().lines().count(), run.out());
    return run.out();
  }

  @Test
  void generateWritesTheAnswerAndNothingElse() throws IOException {
    CliRun run = run("generate", "-m", TINY, "-n", "20", "the", "sky");
    assertEquals(0, run.code(), run.err());
    assertEquals("", run.err());
    assertTrue(run.out().endsWith("\n"));
    assertEquals(
        run.out(), Json.at(generate("-n", "20", "the sky"), "/text") + "\n");
  }

  @Test
  void aSchemaOrAnExpressionBindsTheAnswer() throws IOException {
    String schema =
        "{\"type\":\"object\",\"properties\":{\"ok\":{\"type\":\"boolean\"}},"
            + "\"required\":[\"ok\"],\"additionalProperties\":false}";
    String inline = generate("-n", "60", "--json-schema", schema, "hi");
    assertTrue(Json.at(Json.at(inline, "/text"), "/ok").matches("true|false"), inline);
    Path file = Files.writeString(home.resolve("schema.json"), schema);
    assertEquals(
        Json.at(inline, "/tokens"),
        Json.at(generate("-n", "60", "--json-schema", file.toString(), "hi"), "/tokens"));
    assertTrue(
        Json.at(generate("-n", "20", "--regex", "[0-9]{4}", "hi"), "/text").matches("[0-9]{4}"));
  }

  @Test
  void alternativesArePrintedOneAfterAnother() throws IOException {
    String json = generate("-t", "1", "--alternatives", "3", "hi");
    assertEquals(5, Json.intAt(json, "/alternatives/1/usage/new_tokens"));
    CliRun run = run("generate", "-m", TINY, "-n", "4", "--alternatives", "2", "hi");
    assertEquals(0, run.code(), run.err());
    assertTrue(run.out().contains("\n[2]\n"), run.out());
  }

  @Test
  void whatTheEngineMayDoChangesNoToken() throws IOException {
    String plain = tokens("-n", "30", "hi");
    assertEquals(plain, tokens("-n", "30", "--draft-tokens", "4", "hi"));
    assertEquals(plain, tokens("-n", "30", "--no-prefix-cache", "hi"));
    assertEquals(plain, tokens("-n", "30", "--cache-salt", "mine", "--priority", "-3", "hi"));
  }

  @ParameterizedTest
  @CsvSource(delimiter = '|', value = {
    "--alternatives|0|1 to",
    "--alternatives|-1|1 to",
    "--alternatives|129|1 to",
    "--draft-tokens|-1|0 to 16",
    "--draft-tokens|17|0 to 16",
    "--queue-timeout|-1|above zero",
    "--first-token-timeout|0|above zero",
    "--priority|2147483648|a whole number",
    "--json-schema|{\"type\"|a JSON object",
    "--json-schema|no-such-file|expected",
    "--regex|(|expected"
  })
  void optionsOfTheEngineRefuseBadValues(String option, String value, String expected) {
    CliRun run = run("generate", "-m", TINY, option, value, "hi");
    assertEquals(2, run.code(), run.err());
    assertEquals(1, run.errLines(), run.err());
    assertTrue(run.err().contains(expected), run.err());
  }

  @ParameterizedTest
  @CsvSource(delimiter = '|', value = {
    "--json-schema|[1]|array (expected: a JSON object)",
    "--json-schema|null|null (expected: a JSON object)",
    "--json-schema|''|empty (expected: a JSON object)",
    "--tools|{}|object (expected: a list",
    "--tools|null|null (expected: a list",
    "--tools|''|empty (expected: a list",
    "--tools|[null]|a tool without function.name (expected: a list",
    "--tools|[] []|Trailing token"
  })
  void filesOfTheWrongKindAreRefused(String option, String text, String expected)
      throws IOException {
    Path file = Files.writeString(home.resolve("given.json"), text);
    CliRun run = run("generate", "-m", TINY, option, file.toString(), "hi");
    assertEquals(2, run.code(), run.err());
    assertTrue(run.err().startsWith("sluice: " + option + ": " + file), run.err());
    assertTrue(run.err().contains(expected), run.err());
    assertFalse(run.err().contains("java."), run.err());
  }

  @Test
  void statsGoToStandardError() {
    CliRun run = run("generate", "-m", TINY, "-n", "3", "--stats", "hi");
    assertEquals(0, run.code(), run.err());
    assertTrue(run.err().matches("\\d+ prompt tokens, .* 3 new tokens, .* ended by length.*\\n"),
        run.err());
  }

  @Test
  void jsonTellsTheWholeAnswer() throws IOException {
    String json = generate("--logprobs", "2", "hi");
    assertEquals("length", Json.at(json, "/finish_reason"));
    assertEquals(5, Json.intAt(json, "/usage/new_tokens"));
    assertEquals(1, Json.intAt(json, "/seed"));
    assertEquals(Json.at(json, "/tokens/4"), Json.at(json, "/logprobs/4/token"));
    assertEquals(0, Json.intAt(json, "/logprobs/0/rank"));
    assertEquals(Json.at(json, "/tokens/0"), Json.at(json, "/logprobs/0/top/0/token"));
    assertTrue(Double.parseDouble(Json.at(json, "/logprobs/0/top/1/logprob")) < 0, json);
  }

  @Test
  void aPromptIsAMessageUnlessRaw() throws IOException {
    int message = promptTokens("the");
    int raw = promptTokens("--raw", " the");
    int system = promptTokens("--system", "x", "the");
    assertEquals(1, raw);
    assertTrue(system > 4 && system < message, system + " of " + message);
  }

  @Test
  void theSeedRepeatsAndTheTemperatureVaries() throws IOException {
    String once = tokens("-t", "2", "-n", "30", "hi");
    assertEquals(once, tokens("-t", "2", "-n", "30", "hi"));
    assertNotEquals(once, tokens("-t", "2", "-n", "30", "hi", "--seed", "2"));
  }

  @Test
  void inputComesFromAPipeOrAFile() throws IOException {
    String expected = tokens("天空");
    byte[] in = "天空".getBytes(StandardCharsets.UTF_8);
    Path file = Files.write(home.resolve("prompt.txt"), in);
    assertEquals(expected, tokens("--file", file.toString()));
    CliRun piped =
        CliRun.of(home, Map.of(), in, "generate", "-m", TINY, "--json", "-n", "5", "-");
    assertEquals(expected, Json.at(piped.out(), "/tokens"));
  }

  @Test
  void promptsBeyondTheContextAreRefused() {
    CliRun run = run("generate", "-m", TINY, "a".repeat(300));
    assertEquals(2, run.code());
    assertEquals(1, run.errLines(), run.err());
    assertTrue(run.err().contains("256"), run.err());
    assertEquals("", run.out());
  }

  @Test
  void contextBeyondTheModelIsRefused() {
    CliRun run = run("generate", "-m", TINY, "--context-length", "100000", "hi");
    assertEquals(2, run.code());
    assertTrue(run.err().contains("100000 (expected: at most 256"), run.err());
  }

  @ParameterizedTest
  @ValueSource(strings = {"generate --raw hi", "generate hi", "chat"})
  void modelsWithoutATokenizerCannotTalk(String command) {
    CliRun run =
        run((command + " -m " + GoldenFiles.fixture("llama")).split(" "));
    assertNotEquals(0, run.code());
    assertEquals(1, run.errLines(), run.err());
    assertTrue(run.err().startsWith("sluice: ") && !run.err().contains("defect"), run.err());
  }

  @Test
  void tokensAreAnsweredByTokens() {
    String llama = GoldenFiles.fixture("llama").toString();
    CliRun run = run("generate", "-m", llama, "--tokens", "5,17,42", "-n", "4", "-t", "0");
    assertEquals(0, run.code(), run.err());
    assertTrue(run.out().matches("\\d+(,\\d+){3}\n"), run.out());
    CliRun outside = run("generate", "-m", llama, "--tokens", "5,256");
    assertEquals(2, outside.code());
    assertTrue(outside.err().contains("256 (expected: 0 to 255"), outside.err());
    CliRun negative = run("generate", "-m", llama, "--tokens", "5,-1");
    assertEquals(2, negative.code());
    assertTrue(negative.err().startsWith("sluice: --tokens: -1 (expected:"), negative.err());
  }

  @ParameterizedTest
  @ValueSource(strings = {"classify --tokens 5", "classify hi", "generate --tokens 5 --head x"})
  void aModelWithoutSuchAHeadSaysSo(String command) {
    CliRun run =
        run((command + " -m " + GoldenFiles.fixture("llama")).split(" "));
    assertNotEquals(0, run.code());
    assertEquals(1, run.errLines(), run.err());
    assertTrue(run.err().startsWith("sluice: head"), run.err());
  }

  @Test
  void expertLoadNeedsExperts() {
    String llama = GoldenFiles.fixture("llama").toString();
    CliRun run = run("generate", "-m", llama, "--tokens", "5", "--expert-load");
    assertEquals(2, run.code());
    assertTrue(run.err().startsWith("sluice: reportExpertCounts: true (expected: false"),
        run.err());
  }

  @Test
  void chatAnswersLineByLine() {
    byte[] in = "hi\n/set max_new_tokens 4\nagain\n/stats\n".getBytes(StandardCharsets.UTF_8);
    CliRun run = CliRun.of(home, Map.of(), in, "chat", "-m", TINY, "-n", "6");
    assertEquals(0, run.code(), run.err());
    assertTrue(run.err().contains("4 new tokens"), run.err());
    assertFalse(run.out().contains(">"), "no prompt where nobody types: " + run.out());
  }

  @ParameterizedTest
  @MethodSource("ai.sluice.cli.GoldenFiles#fixtures")
  void verifyAgreesWithTheFixtures(Path fixture) {
    CliRun run = run("verify", fixture.toString());
    assertEquals(0, run.code(), run.out() + run.err());
    assertTrue(run.out().contains("arithmetic in float32"), run.out());
    assertTrue(run.out().contains("checks agree"), run.out());
    assertFalse(run.out().contains("FAIL"), run.out());
    assertFalse(run.out().contains("not checked"), run.out());
  }

  @Test
  void verifyInBfloat16ReplaysDecisions() {
    CliRun run =
        run("verify", GoldenFiles.fixture("mixtral").toString(), "--dtype", "bfloat16");
    assertEquals(0, run.code(), run.out() + run.err());
    assertTrue(run.out().contains("ok    logits, decisions replayed  error "), run.out());
    assertTrue(run.out().contains("not checked: logits64_1: choices of experts and keys flip"),
        run.out());
    assertTrue(run.out().contains("the one check agrees"), run.out());
  }

  @Test
  void classifyPrintsTheScores() throws IOException {
    Path fixture = GoldenFiles.fixture("adaptive_moe");
    SafetensorsFile expected = SafetensorsFile.open(fixture.resolve("expected.safetensors"));
    float[] want = expected.readFloat32("classification64_1");
    String prompt =
        Arrays.stream(expected.readInt64("input_ids_1"))
            .mapToObj(Long::toString)
            .collect(Collectors.joining(","));
    String[] command = {
      "classify", "-m", fixture.toString(), "--tokens", prompt, "--dtype", "float32",
      "--context-length", "64"
    };
    CliRun lines = run(command);
    assertEquals(0, lines.code(), lines.err());
    assertEquals(want.length, lines.out().lines().count(), lines.out());
    CliRun json =
        run(
            Stream.concat(
                    Arrays.stream(command), Stream.of("--json", "--head", "classification"))
                .toArray(String[]::new));
    int best = 0;
    for (int label = 0; label < want.length; label++) {
      best = want[label] > want[best] ? label : best;
      assertEquals(
          want[label], Float.parseFloat(Json.at(json.out(), "/scores/" + label)), 1e-4f);
    }
    assertEquals(best, Json.intAt(json.out(), "/label"));
    assertTrue(lines.out().lines().toList().get(best).endsWith("  highest"), lines.out());
  }

  @Test
  void aHeadChoosesTokens() throws IOException {
    String fixture = GoldenFiles.fixture("adaptive_moe").toString();
    List<String> answers = new ArrayList<>();
    for (String head : List.of("generation", "reasoning")) {
      CliRun run =
          run("generate", "-m", fixture, "--tokens", "5,17,42", "-n", "8", "-t", "0", "--head",
              head, "--json", "--context-length", "64");
      assertEquals(0, run.code(), run.err());
      answers.add(Json.at(run.out(), "/tokens"));
    }
    assertNotEquals(answers.get(0), answers.get(1));
    CliRun wrong = run("generate", "-m", fixture, "--tokens", "5", "--head", "classification",
        "--context-length", "64");
    assertEquals(2, wrong.code());
    assertTrue(
        wrong.err().startsWith("sluice: head: classification (expected: generation, reasoning"),
        wrong.err());
    CliRun inspect = run("inspect", fixture);
    assertTrue(inspect.out().contains("reasoning"), inspect.out());
  }

  @Test
  void expertLoadIsPrinted() throws IOException {
    String fixture = GoldenFiles.fixture("mixtral").toString();
    CliRun table =
        run("generate", "-m", fixture, "--tokens", "5,17,42", "-n", "4", "--expert-load");
    assertEquals(0, table.code(), table.err());
    assertEquals(1, table.out().lines().count(), table.out());
    assertEquals(4, table.errLines(), table.err());
    assertTrue(table.err().startsWith("| layer | imbalance | last step | busiest expert"),
        table.err());
    // 3 + 3 computed tokens with 2 experts each.
    assertTrue(table.err().contains(" of 12) |"), table.err());
    CliRun json =
        run("generate", "-m", fixture, "--tokens", "5,17,42", "-n", "4", "--expert-load", "--json");
    assertEquals(4, Json.intAt(json.out(), "/expert_load/steps"));
    int sum = 0;
    for (int expert = 0; expert < 8; expert++) {
      sum += Json.intAt(json.out(), "/expert_load/layers/1/tokens/" + expert);
    }
    assertEquals(12, sum, json.out());
    CliRun bench = run("bench", fixture, "-p", "8", "-n", "0", "-r", "1", "--expert-load");
    assertEquals(0, bench.code(), bench.err());
    // The run to warm up computes too.
    assertTrue(bench.out().contains(" of 32) |"), bench.out());
  }

  @Test
  void verifyFailsOnOtherWeights() throws IOException {
    Path copy = Files.createDirectories(home.resolve("copy"));
    Path llama = GoldenFiles.fixture("llama");
    for (String name : List.of("config.json", "model.safetensors", "expected.safetensors")) {
      Files.copy(llama.resolve(name), copy.resolve(name));
      copy.resolve(name).toFile().setWritable(true);
    }
    byte[] weights = Files.readAllBytes(copy.resolve("model.safetensors"));
    // The sign of the last stored value.
    weights[weights.length - 1] ^= (byte) 0x80;
    Files.write(copy.resolve("model.safetensors"), weights);
    CliRun run = run("verify", copy.toString());
    assertEquals(1, run.code(), run.out());
    assertTrue(run.out().contains("FAIL  logits"), run.out());
    assertTrue(run.out().contains("checks failed"), run.out());
  }

  @Test
  void verifyNeedsExpectedOutputs() {
    CliRun run = run("verify", TINY);
    assertEquals(1, run.code());
    assertTrue(run.err().contains("expected.safetensors: missing"), run.err());
    assertEquals(1, run.errLines());
  }

  @Test
  void benchMeasures() throws IOException {
    CliRun run =
        run("bench", TINY, "-p", "8,16", "-n", "4", "-c", "1,3", "-r", "2", "--json");
    assertEquals(0, run.code(), run.err());
    assertEquals("pp8", Json.at(run.out(), "/results/0/test"));
    assertEquals("pp16", Json.at(run.out(), "/results/1/test"));
    assertEquals("tg4", Json.at(run.out(), "/results/2/test"));
    assertEquals("tg4x3", Json.at(run.out(), "/results/3/test"));
    assertEquals("12", Json.at(run.out(), "/results/3/tokens"));
    double speed = Double.parseDouble(Json.at(run.out(), "/results/2/tokens_per_second"));
    assertTrue(speed > 0, run.out());
  }

  @Test
  void benchMeasuresAShapeBehindPrompts() throws IOException {
    String folder = GoldenFiles.fixture("deepseek_v2").toString();
    CliRun run =
        run("bench", "--shape", folder, "-p", "8", "-n", "32", "-d", "0,64", "-c", "1,3", "-r", "1",
            "--json");
    assertEquals(0, run.code(), run.err());
    assertEquals("deepseek_v2", Json.at(run.out(), "/architecture"));
    assertEquals("0", Json.at(run.out(), "/load/file_bytes"));
    assertEquals("pp8", Json.at(run.out(), "/results/0/test"));
    assertEquals("tg32x3", Json.at(run.out(), "/results/2/test"));
    assertEquals("tg32@d64", Json.at(run.out(), "/results/3/test"));
    assertEquals("tg32@d64x3", Json.at(run.out(), "/results/4/test"));
    double millis = Double.parseDouble(Json.at(run.out(), "/results/4/milliseconds_per_step"));
    assertTrue(millis > 0, run.out());
  }

  /** A shape of some hundred terabytes. */
  @Test
  void benchRefusesAShapeThatDoesNotFit(@TempDir Path folder) throws IOException {
    Files.writeString(
        folder.resolve("config.json"),
        """
        {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 32000,
         "hidden_size": 65536, "intermediate_size": 262144, "num_hidden_layers": 1000,
         "num_attention_heads": 512, "num_key_value_heads": 512, "rms_norm_eps": 1e-5,
         "max_position_embeddings": 4096, "hidden_act": "silu", "tie_word_embeddings": false}
        """);
    CliRun run = run("bench", "--shape", folder.toString(), "-p", "8", "-n", "0");
    assertEquals(1, run.code(), run.out());
    assertTrue(run.err().startsWith("sluice: memory: "), run.err());
    assertTrue(run.err().contains(" bytes needed (weights "), run.err());
    assertTrue(run.err().contains(" free (remedy: "), run.err());
  }

  @Test
  void doctorFindsNothingWrong() {
    CliRun run = run("doctor");
    assertEquals(0, run.code(), run.out() + run.err());
    assertTrue(run.out().contains("libsluice "), run.out());
    assertTrue(run.out().contains("kernels"), run.out());
    assertTrue(run.out().contains("'sluice pull' fetches it"), run.out());
    assertTrue(run.out().endsWith("no problem found\n"), run.out());
  }
}
