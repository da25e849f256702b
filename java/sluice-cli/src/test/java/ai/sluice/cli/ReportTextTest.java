package ai.sluice.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.Backend;
import ai.sluice.api.ClassificationResult;
import ai.sluice.api.ComputeDtype;
import ai.sluice.api.ExpertLoad;
import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.ModelInfo;
import ai.sluice.api.Numerics;
import ai.sluice.api.Sampling;
import ai.sluice.api.SamplingDefaults;
import ai.sluice.api.Timings;
import ai.sluice.api.TokenLogprob;
import ai.sluice.api.ToolCall;
import ai.sluice.api.TopLogprob;
import ai.sluice.api.Usage;
import ai.sluice.core.BenchmarkReport;
import ai.sluice.core.WeightsLoad;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What bench and generate print. */
class ReportTextTest {
  @TempDir Path home;

  private static final ModelInfo MODEL =
      new ModelInfo(
          Path.of("models/tiny.gguf"), "llama", Backend.CPU, ComputeDtype.BFLOAT16, Numerics.FAST,
          2, 134_515_008, 49_152, 576, 30, 8192, 513, 1, 512, 16, 33, 269_000_000, 1, 1, 0,
          List.of(2), List.of(), new SamplingDefaults(Sampling.greedy(), "built in"), true, true, Map.of(),
          List.of());

  private static final BenchmarkReport REPORT =
      new BenchmarkReport(
          MODEL,
          new WeightsLoad(269_000_000, 538_000_000, 250_000),
          List.of(
              new BenchmarkReport.Result("pp512", 1, 512, 2, 1234.567, 8.9, List.of(1230.0, 1239.0)),
              new BenchmarkReport.Result("tg128x4", 4, 512, 1, 45, 0, List.of(45.0))),
          Optional.empty());

  @Test
  void benchTable() {
    assertEquals(
        """
        | model | params | weights | backend | dtype | threads | test | t/s | ms/step |
        | --- | ---: | ---: | --- | --- | ---: | --- | ---: | ---: |
        | tiny | 134.52 M | 269.0 MB | cpu | bfloat16 | 2 | pp512 | 1234.57 ± 8.90 |  |
        | tiny | 134.52 M | 269.0 MB | cpu | bfloat16 | 2 | tg128x4 | 45.00 ± 0.00 | 88.889 |

        weights: 0.54 GB read in 0.25 s, 2.15 GB/s
        """,
        BenchCommand.table(REPORT));
  }

  @Test
  void benchJson() {
    String json = BenchCommand.json(REPORT);
    assertTrue(
        json.contains(
            "{\"test\":\"pp512\",\"concurrency\":1,\"tokens\":512,\"repetitions\":2,\"tokens_per_second\":1234.567,"
                + "\"standard_deviation\":8.9,\"samples\":[1230.0,1239.0]}"),
        json);
    assertTrue(json.contains("\"milliseconds_per_step\":88.8"), json);
    assertTrue(
        json.contains(
            "\"load\":{\"file_bytes\":538000000,\"seconds\":0.25,"
                + "\"gigabytes_per_second\":2.152}"),
        json);
    assertTrue(json.contains("\"dtype\":\"bfloat16\",\"threads\":2"), json);
    assertFalse(json.contains("\n"));
  }

  @Test
  void expertLoadAsATableAndAsJson() {
    ExpertLoad load =
        new ExpertLoad(
            3,
            List.of(
                new ExpertLoad.Layer(1, List.of(6L, 0L, 12L, 6L), List.of(0L, 0L, 2L, 0L)),
                new ExpertLoad.Layer(2, List.of(6L, 6L, 6L, 6L), List.of(1L, 0L, 0L, 1L))));
    BenchmarkReport report =
        new BenchmarkReport(MODEL, REPORT.load(), REPORT.results(), Optional.of(load));
    assertTrue(
        BenchCommand.table(report)
            .endsWith(
                """
                weights: 0.54 GB read in 0.25 s, 2.15 GB/s

                | layer | imbalance | last step | busiest expert | unused experts |
                | ---: | ---: | ---: | ---: | ---: |
                | 1 | 2.00 | 4.00 | 2 (12 of 24) | 1 of 4 |
                | 2 | 1.00 | 2.00 | 0 (6 of 24) | 0 of 4 |
                """),
        BenchCommand.table(report));
    String json = BenchCommand.json(report);
    assertTrue(
        json.endsWith(
            ",\"expert_load\":{\"steps\":3,\"layers\":[{\"layer\":1,\"imbalance\":2.0,"
                + "\"last_step_imbalance\":4.0,\"tokens\":[6,0,12,6]},{\"layer\":2,"
                + "\"imbalance\":1.0,\"last_step_imbalance\":2.0,\"tokens\":[6,6,6,6]}]}}"),
        json);
  }

  @Test
  void scoresAsLinesAndAsJson() {
    ClassificationResult result =
        new ClassificationResult(
            List.of(-0.5f, 2.25f, 1f), FinishReason.STOP, "", new Usage(3, 0, 0),
            new Timings(1, 2, 0, 3));
    assertEquals(
        """
        label 0       -0.500000
        label 1        2.250000  highest
        label 2        1.000000
        """,
        ClassifyCommand.lines(result));
    assertEquals(
        "{\"model\":\"m\",\"label\":1,\"scores\":[-0.5,2.25,1.0],\"usage\":{\"prompt_tokens\":3},"
            + "\"timings\":{\"queue_micros\":1,\"prefill_micros\":2,\"total_micros\":3}}",
        ClassifyCommand.json("m", result));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "-p -1        | -p: -1 (expected: 0 or more)",
        "-p 5,x       | --prompt-tokens: x (expected: a whole number)",
        "-p 0 -n 0    | -p, -n: both 0 (expected: at least one test)",
        "-r 0         | -r: 0 (expected: 1 or more)",
        "-c 16,0      | -c: 0 (expected: 1 or more)",
        "-d 0,-1      | -d: -1 (expected: 0 or more)",
        "--shape mini | --shape: mini beside nowhere (expected: a shape or a model)",
        "--threads -1 | --threads: -1 (expected: 1 to 1024)",
      })
  void benchRefusesBadNumbers(String arguments, String message) {
    CliRun run = CliRun.of(home, ("bench nowhere " + arguments).split(" +"));
    assertEquals(2, run.code());
    assertTrue(run.err().startsWith("sluice: " + message), run.err());
  }

  @Test
  void benchRefusesAShapeThatIsNone() {
    CliRun run = CliRun.of(home, "bench", "--shape", "mini");
    assertEquals(2, run.code());
    assertTrue(
        run.err().startsWith("sluice: shape: mini (expected: deepseek-v2-lite, "), run.err());
  }

  @Test
  void answerAsJson() {
    GenerationResult result =
        new GenerationResult(
            "天\n\"", List.of(5), List.of(new TokenLogprob(5, "天", -0.5, 0,
                List.of(new TopLogprob(5, "天", -0.5)))),
            FinishReason.LENGTH, "maxNewTokens", 7, new Usage(3, 1, 1), new Timings(1, 2, 3, 6));
    assertEquals(
        "{\"model\":\"m\",\"text\":\"天\\n\\\"\",\"tokens\":[5],\"finish_reason\":\"length\","
            + "\"detail\":\"maxNewTokens\",\"seed\":7,\"usage\":{\"prompt_tokens\":3,"
            + "\"cached_prompt_tokens\":1,\"new_tokens\":1},\"timings\":{\"queue_micros\":1,"
            + "\"prefill_micros\":2,\"decode_micros\":3,\"total_micros\":6},\"logprobs\":[{"
            + "\"token\":5,\"text\":\"天\",\"logprob\":-0.5,\"rank\":0,\"top\":[{\"token\":5,"
            + "\"text\":\"天\",\"logprob\":-0.5}]}]}",
        AnswerJson.of("m", result, Optional.empty()));
  }

  @Test
  void whatIsBesideTheTextIsInTheJsonToo() {
    Map<String, Object> arguments = new LinkedHashMap<>();
    arguments.put("x", List.of(1, 2.5, "a"));
    arguments.put("y", null);
    GenerationResult other =
        new GenerationResult(
            "b", List.of(), List.of(), FinishReason.STOP, "", 8, new Usage(3, 3, 0),
            new Timings(0, 0, 0, 0));
    GenerationResult result =
        new GenerationResult(
            "", "hm", List.of(ToolCall.of("id1", "f", arguments)), List.of(), List.of(),
            FinishReason.TOOL_CALLS, "", 7, new Usage(3, 1, 0), new Timings(0, 0, 0, 0),
            List.of(other));
    String json = AnswerJson.of("m", result, Optional.empty());
    assertTrue(
        json.startsWith(
            "{\"model\":\"m\",\"text\":\"\",\"reasoning\":\"hm\",\"tool_calls\":[{\"id\":\"id1\","
                + "\"name\":\"f\",\"arguments\":{\"x\":[1,2.5,\"a\"],\"y\":null}}],\"tokens\":[],"
                + "\"finish_reason\":\"tool_calls\""),
        json);
    assertTrue(json.contains(",\"alternatives\":[{\"text\":\"b\",\"tokens\":[],"), json);
    assertEquals("calls of tools", AnswerStats.reason(result));
  }

  @Test
  void statsOfAnAnswerThatNeverBegan() {
    GenerationResult result =
        new GenerationResult(
            "", List.of(), List.of(), FinishReason.TIMEOUT, "", 7, new Usage(3, 0, 0),
            new Timings(5, 0, 0, 5));
    assertEquals("3 prompt tokens; 0 new tokens; ended by timeout", AnswerStats.line(result));
  }

  @Test
  void anAnswerThatRanOutOfTimeIsNoFailure() {
    assertEquals("", said(FinishReason.STOP));
    assertEquals("", said(FinishReason.LENGTH));
    assertEquals("", said(FinishReason.TOOL_CALLS));
    assertEquals("(ended by timeout)\n", said(FinishReason.TIMEOUT));
    CommandException e =
        assertThrows(CommandException.class, () -> said(FinishReason.CANCELLED));
    assertTrue(e.getMessage().contains("CANCELLED"), e.getMessage());
  }

  /** What is told of a complete or cut answer beside the answer. */
  private static String said(FinishReason reason) {
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    Console console =
        new Console(
            InputStream.nullInputStream(), new ByteArrayOutputStream(), err, Map.of(), false,
            false);
    GenerationResult result =
        new GenerationResult(
            "", List.of(), List.of(), reason, "", 7, new Usage(3, 0, 0),
            new Timings(0, 0, 0, 0));
    assertEquals(0, new GenerateCommand(console).check(result));
    console.err().flush();
    return err.toString(StandardCharsets.UTF_8);
  }
}
