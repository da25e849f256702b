package ai.sluice.core.scheduler;

import java.util.Arrays;

/**
 * Tokens per layer and expert, summed over steps. One thread adds, any thread reads: a snapshot
 * never shows half a step. Adding allocates nothing.
 */
public final class ExpertCounts {
  private final int numExperts;
  private final long[] totals;
  private final int[] lastStep;
  private long steps;

  /**
   * Creates counts at zero.
   *
   * @param numLayers all layers of the model
   * @param numExperts the most experts that a layer has; 0: the engine reports no counts
   */
  public ExpertCounts(int numLayers, int numExperts) {
    this.numExperts = numExperts;
    totals = new long[numLayers * numExperts];
    lastStep = new int[totals.length];
  }

  /** Counts of an engine that reports none. */
  public static ExpertCounts none() {
    return new ExpertCounts(0, 0);
  }

  /** Whether the engine reports counts. */
  public boolean reported() {
    return numExperts > 0;
  }

  /** Adds what one step says. */
  void add(StepOutput output) {
    if (!reported()) {
      return;
    }
    synchronized (this) {
      for (int i = 0; i < totals.length; i++) {
        lastStep[i] = output.expertCount(i);
        totals[i] += lastStep[i];
      }
      steps++;
    }
  }

  /** The state after the last step that was added. */
  public synchronized Snapshot snapshot() {
    return new Snapshot(numExperts, steps, totals.clone(), lastStep.clone());
  }

  /** Counts at one moment. */
  public static final class Snapshot {
    private final int numExperts;
    private final long steps;
    private final long[] totals;
    private final int[] lastStep;

    private Snapshot(int numExperts, long steps, long[] totals, int[] lastStep) {
      this.numExperts = numExperts;
      this.steps = steps;
      this.totals = totals;
      this.lastStep = lastStep;
    }

    /** Steps that were added. */
    public long steps() {
      return steps;
    }

    /** Tokens of the first {@code experts} experts of a layer, over all steps. */
    public long[] tokens(int layer, int experts) {
      return Arrays.copyOfRange(totals, layer * numExperts, layer * numExperts + experts);
    }

    /** Tokens of the first {@code experts} experts of a layer in the last step. */
    public long[] lastStepTokens(int layer, int experts) {
      return Arrays.stream(lastStep, layer * numExperts, layer * numExperts + experts)
          .asLongStream()
          .toArray();
    }
  }
}
