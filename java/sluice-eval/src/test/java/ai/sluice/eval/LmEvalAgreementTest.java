package ai.sluice.eval;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import ai.sluice.api.Backend;
import ai.sluice.api.ComputeDtype;
import ai.sluice.api.EngineOptions;
import ai.sluice.api.Numerics;
import ai.sluice.eval.run.ItemRecord;
import ai.sluice.eval.run.TaskSummary;
import ai.sluice.eval.sandbox.CodeRunner;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Semaphore;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Item by item what lm-eval 0.4.13 answers with the same float32 checkpoint. */
class LmEvalAgreementTest {
  private static final double LOGPROB_BOUND = 1e-4;
  // lm-eval's sums are float32: those of long continuations are some hundreds, in steps of 3e-5.
  private static final double SUM_BOUND = 1e-6;
  // The third and fourth expert of a token are 2.5e-7 apart there, which float32 does not order;
  // all else about the item must be equal.
  private static final Map<String, Double> NEAR_EXPERTS =
      Map.of("deepseek_v2-chat_mmlu.jsonl.gz: mmlu_prehistory, item 0", 1e-3);
  private static final double TOTAL_BOUND = 1e-12;
  private static final double NEAR = 1e-5;
  private static final int WINDOW = 16;
  private static final GenerationSettings UNUSED = new GenerationSettings(List.of(), 1);

  private final List<String> differences = new ArrayList<>();
  private double worst;

  @ParameterizedTest
  @ValueSource(strings = {"deepseek_v2", "llama"})
  void ownItems(String model) throws IOException, URISyntaxException {
    Path data = Path.of(LmEvalAgreementTest.class.getResource("/data").toURI());
    agree(LmEvalAnswers.folder().resolve(model), model + "-own-\\w+", 12, data);
  }

  @ParameterizedTest
  @ValueSource(strings = {"deepseek_v2", "llama"})
  void realItems(String model) throws IOException {
    Path data = TestData.folder("data");
    assumeTrue(TestData.there(data), "the data sets");
    agree(LmEvalAnswers.folder().resolve(model), model + "-\\w+", 9, data);
  }

  // Minutes to an hour; docs/evaluation.md says where the folder comes from.
  @Test
  void smolLm2() throws IOException {
    Path data = TestData.folder("data");
    assumeTrue(TestData.there(data), "the data sets");
    String model = System.getProperty("sluice.test.smollm2");
    if (model == null) {
      System.err.println("SKIPPED: no SmolLM2 (remedy: -Dsluice.test.smollm2=FOLDER)");
    }
    assumeTrue(model != null, "the model");
    agree(Path.of(model), "smollm2-\\w+", 1, data);
  }

  private void agree(Path folder, String name, int atLeast, Path data) throws IOException {
    List<Path> files = LmEvalAnswers.files(name);
    assertTrue(files.size() >= atLeast, () -> name + " gives " + files);
    EngineOptions options =
        EngineOptions.builder()
            .model(folder)
            .backend(Backend.CPU)
            .dtype(ComputeDtype.FLOAT32)
            .numerics(Numerics.BATCH_INVARIANT)
            .maxSequences(WINDOW)
            .build();
    String weights =
        new FileHashes(Optional.empty()).of(List.of(folder.resolve("model.safetensors")));
    Map<Boolean, Map<Path, LmEvalAnswers>> ways = new TreeMap<>();
    for (Path file : files) {
      LmEvalAnswers expected = LmEvalAnswers.read(file);
      assertEquals(expected.head().get("weights").textValue(), weights, file.toString());
      ways.computeIfAbsent(expected.head().get("chat").booleanValue(), none -> new TreeMap<>())
          .put(file, expected);
    }
    ways.forEach(
        (chat, answers) -> {
          try (EngineModel model =
              EngineModel.open(options, chat, new FileHashes(Optional.empty()))) {
            answers.forEach((file, expected) -> compare(file, expected, model, data));
          }
        });
    assertEquals(List.of(), differences);
  }

  private void compare(Path file, LmEvalAnswers expected, EvalModel model, Path data) {
    EvalTask task = EvalTasks.named(expected.head().get("task").textValue());
    Map<String, EvalItem> items = new HashMap<>();
    for (EvalItem item : task.items(data, expected.head().get("shots").intValue())) {
      items.put(item.task() + ", item " + item.index(), item);
    }
    assertFalse(expected.items().isEmpty());
    assertEquals(expected.head().get("items").intValue(), expected.items().size());
    worst = 0;
    int before = differences.size();
    List<ItemRecord> records = new ArrayList<>();
    List<String> near = new ArrayList<>();
    Map<String, EvalModel.Reply> replies = ask(expected, items, model, task);
    replies.forEach(
        (key, reply) -> {
          EvalItem item = items.get(key);
          JsonNode wanted = expected.items().get(key);
          same(key + ", prompt", wanted.get("prompt").textValue(),
              PromptHash.of(model.rendered(item)));
          if (item.continuations().isEmpty()) {
            same(key, wanted.get("text").textValue(), reply.answer().texts().get(0));
          } else {
            double bound =
                NEAR_EXPERTS.getOrDefault(file.getFileName() + ": " + key, LOGPROB_BOUND);
            choices(key, wanted, reply.answer(), bound);
            if (LmEvalAnswers.margin(wanted) < NEAR) {
              near.add(key);
            }
          }
          if (!task.runsCode()) {
            ItemScores scores = task.scores(item, reply.answer(), CodeRunner.NONE);
            scores(key, wanted, scores);
            records.add(
                ItemRecord.of(task.name(), item, item.context(), reply.answer(), scores));
          }
        });
    if (!task.runsCode()) {
      totals(expected.totals(), TaskSummary.of(task.name(), records));
    }
    same(file + ", near ties", expected.head().get("near").size(), near.size());
    long cut = replies.values().stream().filter(reply -> reply.truncatedTokens() > 0).count();
    System.out.println(
        file.getFileName() + ": " + replies.size() + " items, " + cut + " with a cut prompt, "
            + (differences.size() - before) + " differences, largest of a log-probability "
            + worst + ", choices nearer than 1e-5: " + near);
  }

  private static Map<String, EvalModel.Reply> ask(
      LmEvalAnswers expected, Map<String, EvalItem> items, EvalModel model, EvalTask task) {
    Semaphore window = new Semaphore(WINDOW);
    Map<String, CompletableFuture<EvalModel.Reply>> asked = new LinkedHashMap<>();
    for (String key : expected.items().keySet()) {
      EvalItem item = items.get(key);
      assertTrue(item != null, key);
      window.acquireUninterruptibly();
      CompletableFuture<EvalModel.Reply> reply =
          model.ask(item, task.generation().orElse(UNUSED));
      asked.put(key, reply);
      reply.whenComplete((done, failure) -> window.release());
    }
    Map<String, EvalModel.Reply> out = new LinkedHashMap<>();
    asked.forEach((key, reply) -> out.put(key, reply.join()));
    return out;
  }

  private void choices(String key, JsonNode wanted, EvalAnswer answer, double bound) {
    List<EvalAnswer.Choice> expected = new ArrayList<>();
    for (JsonNode choice : wanted.get("choices")) {
      expected.add(
          new EvalAnswer.Choice(choice.get(0).doubleValue(), choice.get(1).booleanValue()));
    }
    same(key + ", choices", expected.size(), answer.choices().size());
    for (int i = 0; i < expected.size(); i++) {
      double off = Math.abs(expected.get(i).logprob() - answer.choices().get(i).logprob());
      worst = Math.max(worst, off);
      if (!(off <= Math.max(bound, SUM_BOUND * Math.abs(expected.get(i).logprob())))) {
        differences.add(key + ", choice " + i + ": off by " + off);
      }
      same(key + ", greedy " + i, expected.get(i).greedy(), answer.choices().get(i).greedy());
    }
    same(key + ", best", EvalAnswer.ofChoices(expected).best(), answer.best());
  }

  private void scores(String key, JsonNode wanted, ItemScores scores) {
    Map<String, Double> metrics = new HashMap<>();
    wanted.required("scores").fields()
        .forEachRemaining(entry -> metrics.put(entry.getKey(), entry.getValue().doubleValue()));
    assertFalse(metrics.isEmpty(), key);
    same(key + ", scores", metrics, scores.metrics());
    wanted.path("filtered").fields()
        .forEachRemaining(
            entry ->
                same(
                    key + ", " + entry.getKey(), entry.getValue().textValue(),
                    scores.filtered().get(entry.getKey())));
  }

  private void totals(JsonNode expected, TaskSummary summary) {
    boolean grouped = !summary.members().isEmpty();
    summary.members().forEach(member -> totals(expected, member));
    JsonNode wanted = expected.required(summary.task());
    int held = 0;
    for (Map.Entry<String, TaskSummary.Estimate> one : summary.metrics().entrySet()) {
      String metric = one.getKey();
      // Of the group mmlu_continuation lm-eval sums up one metric of two.
      if (grouped && !wanted.has(metric)) {
        continue;
      }
      String name = summary.task() + ", " + metric;
      total(name, wanted.required(metric), OptionalDouble.of(one.getValue().mean()));
      total(
          name + ", stderr", wanted.required(metric.replace(",", "_stderr,")),
          one.getValue().standardError());
      held++;
    }
    assertTrue(held > 0, summary.task());
  }

  // Where lm-eval has no standard error it says N/A.
  private void total(String name, JsonNode wanted, OptionalDouble ours) {
    boolean equal =
        wanted.isNumber()
            ? ours.isPresent()
                && Math.abs(wanted.doubleValue() - ours.getAsDouble()) <= TOTAL_BOUND
            : ours.isEmpty();
    if (!equal) {
      differences.add(name + ": " + wanted + " against " + ours);
    }
  }

  private void same(String what, Object expected, Object ours) {
    if (!expected.equals(ours)) {
      differences.add(what + ": [" + expected + "] against [" + ours + "]");
    }
  }
}
