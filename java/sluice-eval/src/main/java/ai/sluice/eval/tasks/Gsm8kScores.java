package ai.sluice.eval.tasks;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.DataFiles;
import ai.sluice.eval.EvalAnswer;
import ai.sluice.eval.EvalItem;
import ai.sluice.eval.ItemScores;
import ai.sluice.eval.metrics.Gsm8kExactMatch;
import ai.sluice.eval.metrics.Gsm8kFilter;
import ai.sluice.text.PythonText;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/** What both variants of GSM8K have in common. */
final class Gsm8kScores {
  private Gsm8kScores() {}

  static List<Path> files(Path data, String... names) {
    return Stream.of(names)
        .map(name -> DataFiles.located(data.resolve("gsm8k").resolve(name)))
        .toList();
  }

  /**
   * The answer of an item.
   *
   * @throws InvalidRequestException unless a number stands behind its last {@code ####}
   */
  static String answer(DataFiles.Row row) {
    String answer = row.get(1);
    int at = answer.lastIndexOf("####");
    if (at < 0 || PythonText.strip(answer.substring(at + 4)).isEmpty()) {
      throw new InvalidRequestException(
          row.where() + ": an answer without a number behind #### (remedy: fetch the file again)");
    }
    return answer;
  }

  static Map<String, Object> doc(DataFiles.Row row) {
    Map<String, Object> doc = new LinkedHashMap<>();
    doc.put("question", row.get(0));
    doc.put("answer", row.get(1));
    return doc;
  }

  /** The scores of an answer by the variant's strict filter and by the flexible one. */
  static ItemScores of(EvalItem item, EvalAnswer answer, Gsm8kFilter strict) {
    Map<String, String> filtered = new LinkedHashMap<>();
    Map<String, Double> metrics = new LinkedHashMap<>();
    for (Gsm8kFilter filter : List.of(strict, Gsm8kFilter.FLEXIBLE)) {
      String found = filter.extract(answer.texts().get(0));
      filtered.put(filter.filterName(), found);
      metrics.put(
          "exact_match," + filter.filterName(),
          Gsm8kExactMatch.matches(found, item.target()) ? 1.0 : 0.0);
    }
    return new ItemScores(filtered, metrics);
  }
}
