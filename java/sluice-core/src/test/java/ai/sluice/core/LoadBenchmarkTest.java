package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.GenerationRequest;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ModelInfo;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class LoadBenchmarkTest {
  private static LoadBenchmark.Plan plan(List<Integer> concurrency, int requests) {
    return new LoadBenchmark.Plan(concurrency, 12, 6, Optional.of(requests));
  }

  @Test
  void everyLevelHasItsRequests() {
    List<String> told = new ArrayList<>();
    LoadBenchmark.Report report =
        LoadBenchmark.run(
            Fixtures.options("llama").build(),
            plan(List.of(1, 3), 5),
            new LoadBenchmark.Listener() {
              @Override
              public void opened(ModelInfo model) {
                told.add("opened " + model.maxSequences() + " " + model.maxContextLength());
              }

              @Override
              public void levelBegins(int concurrency) {
                told.add("level " + concurrency);
              }

              @Override
              public void measuringBegins() {
                told.add("begin");
              }

              @Override
              public void measuringEnds() {
                told.add("end");
              }
            });
    assertEquals(
        List.of("opened 3 18", "level 1", "begin", "end", "level 3", "begin", "end"), told);
    assertEquals(2, report.levels().size());
    for (LoadBenchmark.Level level : report.levels()) {
      assertEquals(level.concurrency(), level.warmUp());
      assertEquals(5, level.firstTokenMillis().size());
      assertEquals(5, level.perTokenMillis().size());
      assertTrue(level.firstTokenMillis().stream().allMatch(millis -> millis > 0));
      assertTrue(level.perTokenMillis().stream().allMatch(millis -> millis > 0));
      assertTrue(level.seconds() > 0);
      // Those measured, and what others gave beside them.
      assertTrue(level.tokens() >= 5 * 6, level.toString());
    }
  }

  @Test
  void promptsAreOfTokensThatTheModelHas() {
    try (Engine engine = Engine.open(Fixtures.options("llama").build())) {
      RandomPrompts prompts = new RandomPrompts(engine);
      GenerationRequest request = prompts.request(5000, 2);
      int[] tokens = request.promptTokens().orElseThrow();
      int vocabulary = engine.modelInfo().vocabSize();
      assertEquals(5000, tokens.length);
      boolean[] met = new boolean[vocabulary];
      for (int token : tokens) {
        assertTrue(token >= 1 && token < vocabulary, "token " + token);
        met[token] = true;
      }
      int different = 0;
      for (boolean each : met) {
        different += each ? 1 : 0;
      }
      assertTrue(different > Math.min(5000, vocabulary) / 2, different + " different tokens");
    }
  }

  @Test
  void planIsChecked() {
    assertEquals(16, new LoadBenchmark.Plan(List.of(4), 1, 2, Optional.empty()).requestsAt(4));
    assertEquals(64, new LoadBenchmark.Plan(List.of(4), 1, 2, Optional.empty()).requestsAt(32));
    String message =
        assertThrows(
                InvalidRequestException.class,
                () -> new LoadBenchmark.Plan(List.of(1), 1, 1, Optional.empty()))
            .getMessage();
    assertEquals("new tokens: 1 (expected: 2 to 1048576)", message);
    assertThrows(InvalidRequestException.class, () -> plan(List.of(), 1));
    assertThrows(InvalidRequestException.class, () -> plan(List.of(0), 1));
    assertThrows(InvalidRequestException.class, () -> plan(List.of(1), 0));
  }
}
