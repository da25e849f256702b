package ai.sluice.eval.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.eval.run.EvalRun;
import ai.sluice.eval.run.ItemRecord;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class RunOutputsTest {
  private static final ObjectMapper JSON = new ObjectMapper();

  @TempDir Path temp;

  private EvalRun made(String name, long order) throws IOException {
    EvalRun run = MadeRuns.write(temp.resolve(name), order);
    RunOutputs.write(run, MadeRuns::sent);
    return run;
  }

  private static JsonNode results(EvalRun run) throws IOException {
    return JSON.readTree(Files.readAllBytes(run.folder().resolve(RunOutputs.RESULTS)));
  }

  @Test
  void resultsHaveTheKeysOfLmEval() throws IOException {
    JsonNode json = results(made("a", 1));
    for (String key :
        List.of(
            "results", "groups", "group_subtasks", "versions", "n-shot", "higher_is_better",
            "n-samples", "config")) {
      assertTrue(json.path(key).isObject(), key);
    }
    assertEquals("anatomy", json.at("/results/mmlu_anatomy/alias").asText());
    assertEquals("social sciences", json.at("/results/mmlu_social_sciences/alias").asText());
    assertEquals(
        List.of(
            "mmlu_stem", "mmlu_other", "mmlu_social_sciences", "mmlu_humanities",
            "mmlu_tide_tables"),
        JSON.convertValue(json.at("/group_subtasks/mmlu"), List.class));
    assertEquals(
        List.of("mmlu_anatomy", "mmlu_astronomy"),
        JSON.convertValue(json.at("/group_subtasks/mmlu_stem"), List.class));
    assertEquals(json.at("/results/mmlu"), json.at("/groups/mmlu"));
    assertEquals(2, json.at("/versions/mmlu").asInt());
    assertEquals(1.0, json.at("/versions/mmlu_anatomy").asDouble());
    assertEquals(5, json.at("/n-shot/mmlu_anatomy").asInt());
    assertEquals(27, json.at("/n-samples/mmlu/effective").asInt());
    assertTrue(json.at("/higher_is_better/gsm8k/exact_match").asBoolean());
    assertTrue(json.at("/results/gsm8k/exact_match_stderr,flexible-extract").isNumber());
    assertTrue(json.at("/results/humaneval/pass@1,create_test").isNumber());
    assertTrue(json.path("complete").asBoolean());
  }

  @Test
  void groupsArePooledOverTheirSubjects() throws IOException {
    EvalRun run = made("a", 1);
    double sum = 0;
    double within = 0;
    int count = 0;
    int right = 0;
    for (var subject : MadeRuns.SUBJECTS.entrySet()) {
      List<ItemRecord> items =
          run.items("mmlu").stream()
              .filter(item -> item.task().equals("mmlu_" + subject.getKey()))
              .toList();
      int own = 0;
      for (ItemRecord item : items) {
        own += item.scores().metrics().get("acc,none").intValue();
      }
      double n = items.size();
      double p = own / n;
      right += own;
      sum += own;
      count += (int) n;
      // (n - 1) n se^2 is the sum of squares about the mean: n p (1 - p).
      within += n * p * (1 - p);
    }
    double error = Math.sqrt(within / (count - MadeRuns.SUBJECTS.size()) / count);
    JsonNode json = results(run);
    assertEquals(sum / count, json.at("/results/mmlu/acc,none").asDouble(), 1e-12);
    assertEquals(error, json.at("/results/mmlu/acc_stderr,none").asDouble(), 1e-12);
    JsonNode interval = json.at("/intervals_95/mmlu/acc,none");
    double p = (double) right / count;
    assertTrue(interval.get(0).asDouble() < p && p < interval.get(1).asDouble());
  }

  @Test
  void equalItemsGiveEqualBytes() throws IOException {
    EvalRun one = made("a", 1);
    EvalRun other = made("b", 2);
    assertFalse(
        Files.readString(one.folder().resolve(EvalRun.ITEMS))
            .equals(Files.readString(other.folder().resolve(EvalRun.ITEMS))));
    List<String> names = new ArrayList<>();
    try (var files = Files.list(one.folder())) {
      files.map(file -> String.valueOf(file.getFileName())).forEach(names::add);
    }
    names.removeAll(List.of(EvalRun.ITEMS, EvalRun.MANIFEST));
    assertEquals(1 + 6 + 2, names.size(), names.toString());
    for (String name : names) {
      assertEquals(
          Files.readString(one.folder().resolve(name)),
          Files.readString(other.folder().resolve(name)), name);
    }
  }

  @Test
  void samplesHaveARowForEachItemAndFilter() throws IOException {
    EvalRun run = made("a", 1);
    List<String> rows = Files.readAllLines(run.folder().resolve("samples_gsm8k.jsonl"));
    assertEquals(40, rows.size());
    JsonNode row = JSON.readTree(rows.get(3));
    assertEquals(1, row.path("doc_id").asInt());
    assertEquals("flexible-extract", row.path("filter").asText());
    assertEquals("[\"exact_match\"]", row.path("metrics").toString());
    assertTrue(row.path("exact_match").isDouble());
    assertEquals(1, row.path("filtered_resps").size());
    assertEquals(256, row.at("/arguments/gen_args_0/arg_1/max_gen_toks").asInt());
    for (String hash : List.of("doc_hash", "prompt_hash", "target_hash")) {
      assertEquals(64, row.path(hash).asText().length(), hash);
    }
    JsonNode choice =
        JSON.readTree(
            Files.readAllLines(run.folder().resolve("samples_mmlu_anatomy.jsonl")).get(0));
    assertEquals(4, choice.path("arguments").size());
    assertEquals(" D", choice.at("/arguments/gen_args_3/arg_1").asText());
    assertEquals("True", choice.at("/resps/1/0/1").asText());
    assertEquals(choice.at("/resps/2/0/0"), choice.at("/filtered_resps/2/0"));
  }

  @Test
  void aRunThatAgreesIsFoundToAgree() throws IOException {
    EvalRun run = made("a", 1);
    RunCheck.Result result = RunCheck.of(run);
    assertEquals(List.of(), result.differences());
    assertEquals(47, result.rescored());
    assertEquals(3, result.notRescored());
  }

  private List<String> differences(EvalRun run) {
    return RunCheck.of(EvalRun.read(run.folder())).differences();
  }

  private static void replace(Path file, String from, String to) throws IOException {
    String text = Files.readString(file);
    assertTrue(text.contains(from), from);
    int at = text.indexOf(from);
    Files.writeString(file, text.substring(0, at) + to + text.substring(at + from.length()));
  }

  @Test
  void everyChangeIsFound() throws IOException {
    EvalRun run = made("a", 1);
    Path results = run.folder().resolve(RunOutputs.RESULTS);
    String before = Files.readString(results);
    replace(results, "\"acc,none\" : ", "\"acc,none\" : 1");
    List<String> found = differences(run);
    assertEquals(1, found.size(), found.toString());
    assertTrue(found.get(0).startsWith("results.json, /results/mmlu/acc,none: 1"), found.get(0));
    Files.writeString(results, before);

    Path samples = run.folder().resolve("samples_gsm8k.jsonl");
    String rows = Files.readString(samples);
    replace(samples, "\"doc_id\":4", "\"doc_id\":5");
    assertTrue(differences(run).get(0).startsWith("samples_gsm8k.jsonl, gsm8k 4, doc_id: 5"));
    Files.writeString(samples, rows.substring(rows.indexOf('\n') + 1));
    assertTrue(differences(run).get(0).contains("39 lines (expected: 40)"));
    Files.writeString(samples, rows);

    Path items = run.folder().resolve(EvalRun.ITEMS);
    String lines = Files.readString(items);
    replace(items, "\"task\":\"gsm8k\"", "\"task\":\"gsm8K\"");
    assertTrue(differences(run).get(0).contains("1 damaged lines"), differences(run).toString());
    // With a checksum of its own a forged score is whole, but not what the answer is worth.
    ItemRecord record = run.items("gsm8k").get(2);
    ItemRecord forged =
        new ItemRecord(
            record.group(), record.task(), record.index(), record.promptHash(), record.question(),
            record.target(), record.doc(), record.answer(),
            new ai.sluice.eval.ItemScores(
                record.scores().filtered(),
                java.util.Map.of(
                    "exact_match,strict-match", 7.0, "exact_match,flexible-extract", 0.0)));
    Files.writeString(
        items, lines + ai.sluice.eval.run.ItemLine.write(forged));
    found = differences(run);
    assertTrue(
        found.stream().anyMatch(line -> line.startsWith("items.jsonl, gsm8k 2: {exact_match")),
        found.toString());
  }

  private void only(EvalRun run, String beginning) {
    List<String> found = differences(run);
    assertEquals(1, found.size(), found.toString());
    assertTrue(found.get(0).startsWith(beginning), found.get(0));
  }

  @Test
  void whatIsMissingOrTooMuchIsFound() throws IOException {
    EvalRun run = made("a", 1);
    Path results = run.folder().resolve(RunOutputs.RESULTS);
    Path samples = run.folder().resolve("samples_gsm8k.jsonl");
    String rows = Files.readString(samples);
    Files.delete(results);
    only(run, "results.json: missing");
    Files.delete(samples);
    assertEquals(2, differences(run).size());
    RunOutputs.write(run, MadeRuns::sent);
    assertEquals(rows, Files.readString(samples));

    Path stranger = run.folder().resolve("samples_other.jsonl");
    Files.writeString(stranger, "{}\n");
    only(run, "samples_other.jsonl: samples (expected: none");
    Files.delete(stranger);

    replace(samples, "example 0\\n\\n", "another\\n\\n");
    only(run, "samples_gsm8k.jsonl, gsm8k 0, arguments: a prompt with the hash ");
    Files.writeString(samples, rows);
    replace(samples, "{\"doc_id\":0,", "{\"doc_id\":0,\"more\":1,");
    only(run, "samples_gsm8k.jsonl, gsm8k 0, more: 1 (expected: nothing");
    Files.writeString(samples, rows);

    Path items = run.folder().resolve(EvalRun.ITEMS);
    Files.writeString(items, Files.readString(items) + "{\"crc32c\":\"0");
    List<String> found = differences(run);
    assertTrue(
        found.stream().anyMatch(line -> line.startsWith("items.jsonl, line 51: damaged")),
        found.toString());
  }

  @Test
  void whatWasAskedIsKeptWhereItIsNotKnownAgain() throws IOException {
    EvalRun run = made("a", 1);
    Path file = run.folder().resolve("samples_humaneval.jsonl");
    String before = Files.readString(file);
    RunOutputs.write(run, item -> null);
    assertEquals(before, Files.readString(file));
    Files.delete(file);
    RunOutputs.write(run, item -> null);
    JsonNode row = JSON.readTree(Files.readAllLines(file).get(0));
    assertEquals("{}", row.path("arguments").toString());
    assertEquals(16, row.path("prompt_hash").asText().length());
    assertEquals(List.of(), differences(run));
  }
}
