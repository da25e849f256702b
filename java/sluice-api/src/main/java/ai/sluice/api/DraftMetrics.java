package ai.sluice.api;

/**
 * Tokens guessed ahead and checked in one step.
 *
 * @param proposed tokens of drafts that were checked
 * @param accepted of these, the ones that the model would have chosen too
 */
public record DraftMetrics(long proposed, long accepted) {
  /** Share of the proposed tokens that were accepted; 0 if there were none. */
  public double acceptanceRate() {
    return proposed == 0 ? 0 : (double) accepted / proposed;
  }
}
