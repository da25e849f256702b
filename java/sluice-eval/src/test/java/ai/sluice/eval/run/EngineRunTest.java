package ai.sluice.eval.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.EngineOptions;
import ai.sluice.api.Numerics;
import ai.sluice.eval.EngineModel;
import ai.sluice.eval.EvalTasks;
import ai.sluice.eval.FileHashes;
import ai.sluice.eval.SmallData;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Runs against an engine. */
@Timeout(300)
class EngineRunTest {
  @TempDir Path folder;

  private EvalProgress run(
      String out, int concurrency, boolean prefixCache, Optional<Random> order, String... tasks)
      throws IOException {
    Path data = folder.resolve("data");
    if (!Files.exists(data)) {
      SmallData.write(data, 24);
    }
    EvalOptions options =
        EvalOptions.builder()
            .tasks(List.of(tasks).stream().map(EvalTasks::named).toList())
            .data(data)
            .shots(1)
            .out(folder.resolve(out))
            .build();
    EngineOptions engine =
        EngineOptions.builder()
            .model(SmallData.longModel(folder))
            .numerics(Numerics.BATCH_INVARIANT)
            .maxSequences(concurrency)
            .prefixCache(prefixCache)
            .threads(2)
            .build();
    AtomicReference<EvalProgress> last = new AtomicReference<>();
    try (EngineModel model = EngineModel.open(engine, false, new FileHashes(Optional.empty()));
        EvalRunner runner = EvalRunner.open(options)) {
      order.ifPresent(runner::shuffle);
      assertTrue(runner.run(model, last::set).isComplete());
    }
    return last.get();
  }

  private List<String> items(String out) throws IOException {
    return Files.readAllLines(folder.resolve(out).resolve("items.jsonl")).stream()
        .sorted()
        .toList();
  }

  @Test
  void itemsAreTheSameToTheBitHoweverTheyAreScheduled() throws IOException {
    String[] tasks = {"mmlu", "mmlu_continuation"};
    List<List<String>> all = new ArrayList<>();
    for (int concurrency : new int[] {1, 8, 64}) {
      for (boolean prefixCache : new boolean[] {true, false}) {
        String out = concurrency + "-" + prefixCache;
        run(out, concurrency, prefixCache, Optional.of(new Random(concurrency)), tasks);
        all.add(items(out));
      }
    }
    run("ordered", 16, true, Optional.empty(), tasks);
    for (List<String> other : all) {
      assertEquals(items("ordered"), other);
    }
    assertEquals(96, items("ordered").stream().distinct().count());
  }

  @Test
  void generatedTextsAreTheSameToo() throws IOException {
    run("a", 2, false, Optional.of(new Random(3)), "gsm8k_cot");
    EvalProgress end = run("b", 64, true, Optional.empty(), "gsm8k_cot");
    assertEquals(items("a"), items("b"));
    assertTrue(end.newTokens() > 24, end.newTokens() + " new tokens");
  }

  @Test
  void aHeaderIsComputedOnce() throws IOException {
    EvalProgress end = run("a", 4, true, Optional.empty(), "mmlu");
    EvalProgress without = run("b", 4, false, Optional.empty(), "mmlu");
    assertEquals(without.promptTokens(), end.promptTokens());
    assertEquals(48, end.done());
    // Two headers of about 110 tokens, 48 questions of about 45.
    long computed = end.promptTokens() - end.cachedTokens();
    long most = 2 * 130 + 48 * (60 + 16);
    assertTrue(computed <= most, computed + " of " + end.promptTokens() + " computed");
    assertTrue(end.hitRate() > 0.5, "hit rate " + end.hitRate());
  }
}
