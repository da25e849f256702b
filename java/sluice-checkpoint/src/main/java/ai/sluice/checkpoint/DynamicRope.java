package ai.sluice.checkpoint;

/**
 * RoPE whose frequencies depend on a prompt's length ("dynamic NTK"). The length is that of the
 * whole prompt when a sequence is admitted and stays in force for the sequence, so it is part of a
 * shared prefix's identity.
 *
 * @param ropeIndex index into the ModelSpec's ropes
 * @param rotaryDim columns of a head that turn
 * @param theta the base at lengths up to {@code maxPositions}
 * @param factor how far the model is stretched, at least 1
 * @param maxPositions positions the model was trained on; prompts up to here use the resident
 *     variant 0
 */
public record DynamicRope(
    int ropeIndex, int rotaryDim, double theta, double factor, long maxPositions) {

  /** Whether a prompt of this many tokens needs frequencies of its own. */
  public boolean needsVariant(long promptLength) {
    return promptLength > maxPositions;
  }

  /**
   * The inverse frequencies for a prompt.
   *
   * @param promptLength tokens of the whole prompt, at least 1
   * @return {@code rotaryDim / 2} values, one per pair of columns
   */
  public double[] inverseFrequencies(long promptLength) {
    double length = Math.max(promptLength, maxPositions);
    double stretch = factor * length / maxPositions - (factor - 1);
    double base = theta * Math.pow(stretch, (double) rotaryDim / (rotaryDim - 2));
    double[] frequencies = new double[rotaryDim / 2];
    for (int i = 0; i < frequencies.length; i++) {
      frequencies[i] = 1 / Math.pow(base, 2.0 * i / rotaryDim);
    }
    return frequencies;
  }
}
