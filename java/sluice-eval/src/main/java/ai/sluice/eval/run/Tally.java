package ai.sluice.eval.run;

import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Counts what is done. Not thread-safe. */
final class Tally {
  /** Sum and number of a task's first metric. */
  private static final class Score {
    String metric = "";
    double sum;
    int count;
  }

  private final int total;
  private long weightLeft;
  private long weightDone;
  private final Map<String, Score> scores = new HashMap<>();
  private int before;
  private int done;
  private long promptTokens;
  private long cachedTokens;
  private long newTokens;
  private int truncated;
  private int tied;
  private int unjudged;
  private String task = "";
  private long begun = System.nanoTime();

  Tally(List<WorkList.Work> work) {
    total = work.size();
    weightLeft = work.stream().mapToLong(WorkList.Work::weight).sum();
  }

  /** The clock starts now. */
  void begin() {
    begun = System.nanoTime();
  }

  /** An item that an earlier process has done. */
  void before(ItemRecord record, @Nullable ItemTiming cost, long weight) {
    before++;
    weightLeft -= weight;
    count(record, cost);
  }

  /** An item that this process has done. */
  void done(ItemRecord record, ItemTiming cost, long weight) {
    done++;
    weightLeft -= weight;
    weightDone += weight;
    promptTokens += cost.promptTokens();
    cachedTokens += cost.cachedTokens();
    newTokens += cost.newTokens();
    count(record, cost);
  }

  /** An item done before is judged now. */
  void judged(ItemRecord record) {
    unjudged--;
    score(record);
  }

  private void count(ItemRecord record, @Nullable ItemTiming cost) {
    truncated += cost != null && cost.truncatedTokens() > 0 ? 1 : 0;
    tied += record.answer().isTied() ? 1 : 0;
    task = record.group();
    if (record.scores().metrics().isEmpty()) {
      unjudged++;
    } else {
      score(record);
    }
  }

  private void score(ItemRecord record) {
    Map.Entry<String, Double> first =
        new LinkedHashMap<>(record.scores().metrics()).entrySet().iterator().next();
    Score score = scores.computeIfAbsent(record.group(), none -> new Score());
    score.metric = first.getKey();
    score.sum += first.getValue();
    score.count++;
  }

  EvalProgress progress() {
    double seconds = (System.nanoTime() - begun) / 1e9;
    Score score = scores.getOrDefault(task, new Score());
    return new EvalProgress(
        before, done, total, seconds,
        weightDone == 0 ? -1 : seconds * weightLeft / weightDone,
        promptTokens, cachedTokens, newTokens, truncated, tied, unjudged, task, score.metric,
        score.count == 0 ? Double.NaN : score.sum / score.count);
  }
}
