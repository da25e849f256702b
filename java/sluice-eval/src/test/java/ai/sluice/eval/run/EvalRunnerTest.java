package ai.sluice.eval.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.EvalException;
import ai.sluice.eval.EvalTasks;
import ai.sluice.eval.SmallData;
import ai.sluice.eval.sandbox.Verdict;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(120)
class EvalRunnerTest {
  private static final int ITEMS = 40;
  private static final Consumer<EvalProgress> SILENT = progress -> {};

  @TempDir Path folder;
  private Path data;

  @BeforeEach
  void write() throws IOException {
    data = SmallData.write(folder.resolve("data"), ITEMS);
  }

  private EvalOptions.Builder options(String out, String... tasks) {
    return EvalOptions.builder()
        .tasks(Arrays.stream(tasks).map(EvalTasks::named).toList())
        .data(data)
        .shots(1)
        .out(folder.resolve(out));
  }

  private static EvalRun run(EvalOptions options, FakeModel model) {
    return run(options, model, SILENT);
  }

  private static EvalRun run(
      EvalOptions options, FakeModel model, Consumer<EvalProgress> listener) {
    try (model;
        EvalRunner runner = EvalRunner.open(options)) {
      return runner.run(model, listener);
    }
  }

  private List<String> items(String out) throws IOException {
    return Files.readAllLines(folder.resolve(out).resolve("items.jsonl")).stream()
        .sorted()
        .toList();
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 8, 64})
  void itemsDoNotDependOnTheWindow(int window) throws IOException {
    FakeModel model = new FakeModel(window);
    EvalRun run = run(options("a", "mmlu", "mmlu_continuation", "gsm8k_cot").build(), model);
    assertTrue(run.isComplete());
    assertEquals(5 * ITEMS, model.asked.size());
    assertEquals(5 * ITEMS, new HashSet<>(model.asked).size());
    assertTrue(model.most.get() <= window, "open at once: " + model.most);
    run(options("b", "mmlu", "mmlu_continuation", "gsm8k_cot").build(), new FakeModel(3));
    assertEquals(items("b"), items("a"));
    assertEquals(5 * ITEMS, ItemTiming.read(folder.resolve("a")).size());
  }

  @Test
  void itemsOfOneHeaderAreSideBySideTheLongestFirst() {
    FakeModel model = new FakeModel(1);
    EvalRun run = run(options("a", "mmlu").build(), model);
    List<String> tasks = model.asked.stream().map(ItemKey::task).toList();
    assertEquals(1, tasks.subList(0, ITEMS).stream().distinct().count());
    assertEquals(1, tasks.subList(ITEMS, 2 * ITEMS).stream().distinct().count());
    List<Integer> lengths =
        model.asked.subList(0, ITEMS).stream()
            .map(key -> run.items().get(key).question().length())
            .toList();
    assertEquals(lengths.stream().sorted((a, b) -> b - a).toList(), lengths);
  }

  @Test
  void limitAndSubjectsChoose() {
    EvalRun run = run(options("a", "mmlu", "gsm8k_cot").limit(3).build(), new FakeModel(4));
    assertEquals(9, run.items().size());
    run = run(options("b", "mmlu").subjects(List.of("tide_tables")).build(), new FakeModel(4));
    assertEquals(ITEMS, run.items().size());
    InvalidRequestException refused =
        assertThrows(
            InvalidRequestException.class,
            () -> EvalRunner.open(options("c", "mmlu").subjects(List.of("kites")).build()));
    assertTrue(refused.getMessage().startsWith("subjects: kites (expected: kite_making, "));
  }

  private void refused(String field, EvalOptions.Builder options, Consumer<FakeModel> change) {
    FakeModel model = new FakeModel(4);
    change.accept(model);
    InvalidRequestException e =
        assertThrows(
            InvalidRequestException.class, () -> run(options.build(), model), field);
    assertTrue(String.valueOf(e.getMessage()).startsWith(field + ": "), e.getMessage());
    assertEquals(List.of(), model.asked, field);
  }

  @Test
  void aRunOfOtherThingsIsNotGoneOnWith() throws IOException {
    run(options("a", "mmlu", "gsm8k_cot").limit(3).build(), new FakeModel(4));
    List<String> before = items("a");
    UnaryOperator<EvalOptions.Builder> same = options -> options.limit(3);
    for (String field : List.of("model_sha256", "dtype")) {
      refused(
          field, same.apply(options("a", "mmlu", "gsm8k_cot")),
          model -> model.identity.put(field, "another"));
    }
    refused(
        "max_length", same.apply(options("a", "mmlu", "gsm8k_cot")),
        model -> model.identity.put("max_length", "new"));
    Consumer<FakeModel> none = model -> {};
    refused("limit", options("a", "mmlu", "gsm8k_cot").limit(4), none);
    refused("limit", options("a", "mmlu", "gsm8k_cot"), none);
    refused("mmlu.num_fewshot", options("a", "mmlu", "gsm8k_cot").limit(3).shots(2), none);
    refused(
        "prompt_style", same.apply(options("a", "mmlu", "gsm8k_cot")).promptStyle("deepseek"),
        none);
    refused(
        "subjects",
        same.apply(options("a", "mmlu", "gsm8k_cot")).subjects(List.of("tide_tables")), none);
    refused("gsm8k_cot.data_sha256", same.apply(options("a", "mmlu")), none);
    Path test = data.resolve("mmlu/test/tide_tables_test.csv");
    String rows = Files.readString(test);
    Files.writeString(test, rows + "One more?,a,b,c,d,A\n");
    refused("mmlu.data_sha256", same.apply(options("a", "mmlu", "gsm8k_cot")), none);
    Files.writeString(test, rows);
    // Versions and seeds are the tasks' own, so here it is the run that is of other ones.
    Path manifest = folder.resolve("a/manifest.json");
    String text = Files.readString(manifest);
    for (String[] change :
        new String[][] {
          {"\"seed\" : \"1234\"", "\"seed\" : \"1\"", "seed"},
          {"\"version\" : \"1.0\"", "\"version\" : \"0.9\"", "mmlu.version"},
        }) {
      assertTrue(text.contains(change[0]), change[0]);
      Files.writeString(manifest, text.replace(change[0], change[1]));
      refused(change[2], same.apply(options("a", "mmlu", "gsm8k_cot")), none);
    }
    Files.writeString(manifest, text);
    FakeModel model = new FakeModel(4);
    assertTrue(run(same.apply(options("a", "mmlu", "gsm8k_cot")).build(), model).isComplete());
    assertEquals(List.of(), model.asked);
    assertEquals(before, items("a"));
    FakeModel other = new FakeModel(4);
    other.identity.put("dtype", "another");
    run(options("a", "mmlu").restart(true).build(), other);
    assertEquals(2 * ITEMS, other.asked.size());
  }

  @Test
  void aTornTailIsDoneAgain() throws IOException {
    run(options("whole", "mmlu").build(), new FakeModel(8));
    Path torn = folder.resolve("torn");
    Random random = new Random(20261123);
    byte[] items = Files.readAllBytes(folder.resolve("whole/items.jsonl"));
    byte[] timings = Files.readAllBytes(folder.resolve("whole/timings.jsonl"));
    for (int i = 0; i < 60; i++) {
      // Some of the cuts are within one line, where a character of two bytes is.
      int at = i < 30 ? random.nextInt(items.length) : items.length - 1 - random.nextInt(600);
      Files.createDirectories(torn);
      Files.copy(
          folder.resolve("whole/manifest.json"), torn.resolve("manifest.json"),
          java.nio.file.StandardCopyOption.REPLACE_EXISTING);
      Files.write(torn.resolve("items.jsonl"), Arrays.copyOf(items, at));
      Files.write(
          torn.resolve("timings.jsonl"), Arrays.copyOf(timings, random.nextInt(timings.length)));
      int whole = 0;
      for (int b = 0; b < at; b++) {
        whole += items[b] == '\n' ? 1 : 0;
      }
      FakeModel model = new FakeModel(8);
      assertTrue(run(options("torn", "mmlu").build(), model).isComplete());
      assertTrue(
          model.asked.size() == 2 * ITEMS - whole
              // All of the line but its line feed.
              || items[at] == '\n' && model.asked.size() == 2 * ITEMS - whole - 1,
          "cut at " + at + ": asked " + model.asked.size() + ", whole " + whole);
      assertEquals(items("whole"), items("torn"));
      assertEquals(0, EvalRun.read(torn).damaged());
    }
  }

  @Test
  void aDamagedLineIsDoneAgain() throws IOException {
    run(options("whole", "mmlu").build(), new FakeModel(8));
    run(options("bad", "mmlu").build(), new FakeModel(8));
    Path file = folder.resolve("bad/items.jsonl");
    byte[] bytes = Files.readAllBytes(file);
    bytes[bytes.length / 2] ^= 1;
    Files.write(file, bytes);
    FakeModel model = new FakeModel(8);
    try (model;
        EvalRunner runner = EvalRunner.open(options("bad", "mmlu").build())) {
      assertEquals(1, runner.damaged());
      assertTrue(runner.run(model, SILENT).isComplete());
    }
    assertEquals(1, model.asked.size());
    assertEquals(items("whole"), items("bad"));
  }

  @Test
  void aFullDiskLosesAtMostOneBatch() throws IOException {
    run(options("whole", "mmlu", "gsm8k_cot").build(), new FakeModel(8));
    int total = 3 * ITEMS;
    Random random = new Random(1);
    for (int i = 0; i < 20; i++) {
      String out = "full" + i;
      AtomicInteger left = new AtomicInteger(random.nextInt(60_000));
      ItemLog.Opener full =
          file ->
              new AppendFile(file) {
                @Override
                void write(FileChannel to, ByteBuffer bytes, long at) throws IOException {
                  int some = Math.min(bytes.remaining(), left.get());
                  to.write(bytes.slice().limit(some), at);
                  bytes.position(bytes.position() + some);
                  if (left.addAndGet(-some) <= 0) {
                    throw new IOException("No space left on device");
                  }
                }
              };
      AtomicInteger told = new AtomicInteger();
      FakeModel model = new FakeModel(8);
      // Until then answers are held back.
      model.beforeAnswer = () -> awaitFile(folder.resolve(out).resolve("manifest.json"));
      try (model;
          EvalRunner runner =
              EvalRunner.open(options(out, "mmlu", "gsm8k_cot").build(), full)) {
        EvalException e =
            assertThrows(
                EvalException.class, () -> runner.run(model, now -> told.set(now.done())));
        assertTrue(
            e.getMessage().startsWith(folder.resolve(out) + ": No space left on device (expected"),
            e.getMessage());
      }
      EvalRun kept = EvalRun.read(folder.resolve(out));
      assertEquals(0, kept.damaged());
      assertTrue(kept.items().size() >= told.get(), "reported as done and lost");
      int first = model.asked.size();
      FakeModel again = new FakeModel(8);
      assertTrue(run(options(out, "mmlu", "gsm8k_cot").build(), again).isComplete());
      assertEquals(total - kept.items().size(), again.asked.size());
      // Those in the air and those answered but not yet written.
      assertTrue(first + again.asked.size() <= total + 2 * 8 + 1, "done twice");
      assertEquals(items("whole"), items(out));
    }
  }

  private static void awaitFile(Path file) {
    while (!Files.exists(file) && !Thread.interrupted()) {
      Thread.onSpinWait();
    }
  }

  @Test
  void whatIsToldAsDoneIsOnTheDisk() {
    Path file = folder.resolve("a/items.jsonl");
    run(
        options("a", "mmlu", "gsm8k_cot").build(), new FakeModel(8),
        now -> {
          try {
            long lines = Files.exists(file) ? Files.readAllLines(file).size() : 0;
            assertTrue(lines >= now.done(), now.done() + " told, " + lines + " written");
          } catch (IOException e) {
            throw new UncheckedIOException(e);
          }
        });
  }

  @Test
  void nothingIsDoneBeforeItIsKnownWhatItIsMadeWith() throws Exception {
    FakeModel model = new FakeModel(8);
    CountDownLatch hashed = new CountDownLatch(1);
    model.beforeIdentity =
        () -> {
          try {
            assertTrue(hashed.await(60, TimeUnit.SECONDS));
          } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
          }
        };
    AtomicInteger early = new AtomicInteger();
    model.beforeAnswer =
        () -> {
          if (model.asked.size() == 2 * ITEMS && hashed.getCount() > 0) {
            early.addAndGet(Files.exists(folder.resolve("a/manifest.json")) ? 1 : 0);
            hashed.countDown();
          }
        };
    EvalRun run =
        run(
            options("a", "mmlu").build(), model,
            now -> early.addAndGet(hashed.getCount() > 0 ? now.done() : 0));
    assertEquals(0, early.get());
    assertEquals(0, hashed.getCount(), "the hash held up the questions");
    assertTrue(run.isComplete());
  }

  @Test
  void aStoppedRunGoesOn() throws IOException {
    run(options("whole", "mmlu", "gsm8k_cot").build(), new FakeModel(4));
    FakeModel model = new FakeModel(4);
    try (model;
        EvalRunner runner = EvalRunner.open(options("a", "mmlu", "gsm8k_cot").build())) {
      model.beforeAnswer =
          () -> {
            if (model.asked.size() >= ITEMS) {
              runner.stop();
            }
          };
      EvalRun run = runner.run(model, SILENT);
      assertFalse(run.isComplete());
      assertTrue(run.items().size() >= ITEMS - 8, "kept " + run.items().size());
    }
    FakeModel again = new FakeModel(4);
    assertTrue(run(options("a", "mmlu", "gsm8k_cot").build(), again).isComplete());
    assertEquals(items("whole"), items("a"));
  }

  @Test
  void aFailureEndsTheRunAndKeepsWhatIsDone() {
    FakeModel model = new FakeModel(1);
    EvalException failure = new EvalException("item: broken");
    model.failures.put(new ItemKey("mmlu_tide_tables", 7), failure);
    model.failures.put(new ItemKey("mmlu_kite_making", 7), failure);
    assertSame(
        failure,
        assertThrows(
            EvalException.class, () -> run(options("a", "mmlu").build(), model)));
    EvalRun kept = EvalRun.read(folder.resolve("a"));
    assertEquals(model.asked.size() - 1, kept.items().size());
    FakeModel again = new FakeModel(1);
    assertTrue(run(options("a", "mmlu").build(), again).isComplete());
  }

  @Test
  void aFolderHasOneWriter() {
    try (EvalRunner first = EvalRunner.open(options("a", "mmlu").build())) {
      InvalidRequestException e =
          assertThrows(
              InvalidRequestException.class,
              () -> EvalRunner.open(options("a", "mmlu").build()));
      assertTrue(String.valueOf(e.getMessage()).contains("another process"), e.getMessage());
      assertEquals(2 * ITEMS, first.total());
    }
    EvalRunner.open(options("a", "mmlu").build()).close();
  }

  @Test
  void programsAreJudgedBesideTheModelOrLater() throws IOException {
    AtomicInteger programs = new AtomicInteger();
    ai.sluice.eval.sandbox.CodeRunner runner =
        program -> {
          programs.incrementAndGet();
          boolean passed = program.contains("f3") || program.contains("f5");
          return new Verdict(
              passed ? Verdict.Outcome.PASSED : Verdict.Outcome.FAILED, "", 0.1, List.of());
        };
    InvalidRequestException e =
        assertThrows(
            InvalidRequestException.class,
            () -> EvalRunner.open(options("a", "humaneval").build()));
    assertTrue(String.valueOf(e.getMessage()).contains("--predict-only"), e.getMessage());
    EvalRun run =
        run(options("a", "humaneval").codeRunner(runner).build(), new FakeModel(8));
    assertEquals(ITEMS, programs.get());
    double score = TaskSummary.of("humaneval", run.items("humaneval"))
        .metrics().get("pass@1,create_test").mean();
    assertEquals(0.30, score, 1e-12);

    AtomicInteger unjudged = new AtomicInteger();
    run(
        options("b", "humaneval").predictOnly(true).build(), new FakeModel(8),
        now -> unjudged.set(now.unjudged()));
    assertEquals(ITEMS, programs.get());
    assertEquals(ITEMS, unjudged.get());
    assertEquals(ITEMS, AnswerJudge.judge(folder.resolve("b"), runner, 3).size());
    assertEquals(items("a"), items("b"));
    assertEquals(List.of(), AnswerJudge.judge(folder.resolve("b"), runner, 3));

    Path own = folder.resolve("own.jsonl");
    Files.writeString(own, "{\"prompt\": \"p\", \"answer\": \"x\"}");
    run(options("d", "humaneval", own.toString()).predictOnly(true).build(), new FakeModel(8));
    assertEquals(ITEMS, AnswerJudge.judge(folder.resolve("d"), runner, 3).size());

    run(options("c", "humaneval").predictOnly(true).build(), new FakeModel(8));
    FakeModel idle = new FakeModel(8);
    run(options("c", "humaneval").codeRunner(runner).build(), idle);
    assertEquals(List.of(), idle.asked);
    assertEquals(items("a"), items("c"));
  }
}
