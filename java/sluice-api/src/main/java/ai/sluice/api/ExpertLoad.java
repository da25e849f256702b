package ai.sluice.api;

import java.util.List;

/**
 * How many tokens each expert has computed since the engine opened: a snapshot, consistent in
 * itself. A choice that an expert's capacity dropped is not counted.
 *
 * @param steps steps that were counted
 * @param layers the layers that have experts, from the first to the last
 */
public record ExpertLoad(long steps, List<Layer> layers) {
  /** Copies the list. */
  public ExpertLoad {
    layers = List.copyOf(layers);
  }

  /**
   * The experts of one layer.
   *
   * @param layer the layer's number, from 0
   * @param tokens tokens that each expert has computed, by the expert's number
   * @param lastStepTokens the same of the last step alone
   */
  public record Layer(int layer, List<Long> tokens, List<Long> lastStepTokens) {
    /** Copies the lists. */
    public Layer {
      tokens = List.copyOf(tokens);
      lastStepTokens = List.copyOf(lastStepTokens);
    }

    /**
     * How unevenly the experts were used: the busiest one's tokens over the mean of all. 1 is even,
     * the number of experts is one expert for all; 0 if nothing was computed.
     */
    public double imbalance() {
      return imbalance(tokens);
    }

    /** {@link #imbalance} of the last step alone. */
    public double lastStepImbalance() {
      return imbalance(lastStepTokens);
    }

    /** The expert with the most tokens, the lower one of equals. */
    public int busiestExpert() {
      int best = 0;
      for (int expert = 1; expert < tokens.size(); expert++) {
        if (tokens.get(expert) > tokens.get(best)) {
          best = expert;
        }
      }
      return best;
    }

    /** How many experts have computed nothing. */
    public int unusedExperts() {
      return (int) tokens.stream().filter(count -> count == 0).count();
    }

    private static double imbalance(List<Long> counts) {
      long total = counts.stream().mapToLong(Long::longValue).sum();
      long most = counts.stream().mapToLong(Long::longValue).max().orElse(0);
      return total == 0 ? 0 : (double) most * counts.size() / total;
    }
  }
}
