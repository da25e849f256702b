package ai.sluice.eval.data;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.EvalTasks;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;

/** The data sets of the library's own tasks, each at one version. */
public final class DataSets {
  private static final String RAW = "https://raw.githubusercontent.com/";
  private static final String PAGES = "https://github.com/";

  private static final String MMLU_AT = "hendrycks/test/";
  private static final String MMLU_COMMIT = "4450500f923c49f1fb1dd3d99108a0bd9717b660";
  private static final String GSM8K_AT = "openai/grade-school-math/";
  private static final String GSM8K_COMMIT = "3101c7d5072418e28b9008a6636bde82a006892c";
  private static final String HUMANEVAL_AT = "openai/human-eval/";
  private static final String HUMANEVAL_COMMIT = "6d43fb980f9fee3c892a914eda09951f772ad10d";

  private DataSets() {}

  /** All of them. */
  public static List<DataSet> all() {
    return List.of(mmlu(), gsm8k(), humanEval());
  }

  /**
   * The data set that a task reads.
   *
   * @param task its name
   * @throws InvalidRequestException when there is no such task, or it is a user's own
   */
  public static DataSet of(String task) {
    String known = EvalTasks.named(task).name();
    return all().stream()
        .filter(set -> set.tasks().contains(known))
        .findFirst()
        .orElseThrow(
            () ->
                new InvalidRequestException(
                    "fetch: " + task + " reads data of its own (expected: a task of Sluice's;"
                        + " remedy: its author knows where the data lies)"));
  }

  /** Hendrycks et al. 2020. */
  public static DataSet mmlu() {
    return new DataSet(
        "mmlu", "MMLU (Hendrycks et al. 2020)", "MIT, (c) 2020 Dan Hendrycks",
        page(MMLU_AT, MMLU_COMMIT, "LICENSE"), "LICENSE", List.of("mmlu", "mmlu_continuation"),
        List.of(
            raw(
                MMLU_AT, MMLU_COMMIT, "", "LICENSE", 1070,
                "5d841b9eee8bf0d721359b79fbae956a8b426d3139bfefee32149c7d4f2a1a9c")),
        Optional.of(
            new DataSet.Archive(
                new DataSet.Source(
                    "data.tar", URI.create("https://people.eecs.berkeley.edu/~hendrycks/data.tar"),
                    166_184_960,
                    "78a804365a59028188fb19bd1adcadc5e0c260b220a9d8b2e33a5ea7d5fbe3b4"),
                "data/", hashes("mmlu.sha256"))));
  }

  /** Cobbe et al. 2021. */
  public static DataSet gsm8k() {
    String folder = "grade_school_math/data/";
    return new DataSet(
        "gsm8k", "GSM8K (Cobbe et al. 2021)", "MIT, (c) 2021 OpenAI",
        page(GSM8K_AT, GSM8K_COMMIT, "LICENSE"), "LICENSE", List.of("gsm8k", "gsm8k_cot"),
        List.of(
            raw(
                GSM8K_AT, GSM8K_COMMIT, "", "LICENSE", 1062,
                "86bbb73e855821d7c401912fd4bf82e34313e6e3b6fd6f909f2b6cc9e209a53b"),
            raw(
                GSM8K_AT, GSM8K_COMMIT, folder, "test.jsonl", 749_738,
                "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14"),
            raw(
                GSM8K_AT, GSM8K_COMMIT, folder, "train.jsonl", 4_166_206,
                "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465")),
        Optional.empty());
  }

  /** Chen et al. 2021. */
  public static DataSet humanEval() {
    return new DataSet(
        "humaneval", "HumanEval (Chen et al. 2021)", "MIT, (c) OpenAI",
        page(HUMANEVAL_AT, HUMANEVAL_COMMIT, "LICENSE"), "LICENSE",
        List.of("humaneval", "humaneval_instruct"),
        List.of(
            raw(
                HUMANEVAL_AT, HUMANEVAL_COMMIT, "", "LICENSE", 1083,
                "bcba3de214851cce46ed5af42d6698044616eeace887c3231bc7a20474ab639e"),
            raw(
                HUMANEVAL_AT, HUMANEVAL_COMMIT, "data/", "HumanEval.jsonl.gz", 44_877,
                "b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef")),
        Optional.empty());
  }

  private static URI page(String repository, String commit, String file) {
    return URI.create(PAGES + repository + "blob/" + commit + "/" + file);
  }

  private static DataSet.Source raw(
      String repository, String commit, String folder, String file, long bytes, String sha256) {
    return new DataSet.Source(
        file, URI.create(RAW + repository + commit + "/" + folder + file), bytes, sha256);
  }

  // Lines as sha256sum writes them: the hash, two spaces, the path.
  private static SortedMap<String, String> hashes(String resource) {
    try (InputStream in = DataSets.class.getResourceAsStream(resource)) {
      if (in == null) {
        throw new IllegalStateException(resource + ": not in the jar (remedy: build it again)");
      }
      SortedMap<String, String> out = new TreeMap<>();
      for (String line :
          new String(in.readAllBytes(), StandardCharsets.UTF_8).lines().toList()) {
        int gap = line.indexOf("  ");
        out.put(line.substring(gap + 2), line.substring(0, gap));
      }
      return out;
    } catch (IOException e) {
      throw new IllegalStateException(resource + ": cannot be read from the jar", e);
    }
  }
}
