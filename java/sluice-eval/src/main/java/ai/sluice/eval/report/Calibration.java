package ai.sluice.eval.report;

import ai.sluice.eval.EvalAnswer;
import ai.sluice.eval.run.ItemRecord;
import java.util.ArrayList;
import java.util.List;

/**
 * How often a model that chooses is right where it is how sure: its confidence is the likeliest
 * choice's share of the choices' probabilities.
 *
 * @param bins of equal width, from 0 to 1
 * @param items how many
 * @param expectedError the mean of the bins' differences between confidence and accuracy, weighed
 *     by their items (ECE)
 */
record Calibration(List<Bin> bins, int items, double expectedError) {
  static final int BINS = 10;

  /**
   * Items of like confidence.
   *
   * @param items how many; the others are 0 where there is none
   * @param confidence their mean
   * @param accuracy the share of them that is right
   */
  record Bin(int items, double confidence, double accuracy) {}

  /** Of the items that were chosen; those that were generated do not count. */
  static Calibration of(List<ItemRecord> items) {
    int[] counts = new int[BINS];
    double[] confidence = new double[BINS];
    int[] right = new int[BINS];
    int all = 0;
    for (ItemRecord item : items) {
      if (!item.answer().choices().isEmpty()) {
        double sure = confidence(item.answer());
        int bin = Math.min(BINS - 1, (int) (sure * BINS));
        counts[bin]++;
        confidence[bin] += sure;
        right[bin] += String.valueOf(item.answer().best()).equals(item.target()) ? 1 : 0;
        all++;
      }
    }
    List<Bin> bins = new ArrayList<>();
    double error = 0;
    for (int i = 0; i < BINS; i++) {
      int n = Math.max(1, counts[i]);
      bins.add(new Bin(counts[i], confidence[i] / n, (double) right[i] / n));
      error += Math.abs(confidence[i] - right[i]);
    }
    return new Calibration(bins, all, all == 0 ? 0 : error / all);
  }

  /** The likeliest choice's share. */
  static double confidence(EvalAnswer answer) {
    double best = answer.choices().get(answer.best()).logprob();
    double sum = 0;
    for (EvalAnswer.Choice choice : answer.choices()) {
      sum += Math.exp(choice.logprob() - best);
    }
    // Where every choice is impossible none is likelier than another.
    return Double.isFinite(best) ? 1 / sum : 1.0 / answer.choices().size();
  }
}
