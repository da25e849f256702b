package ai.sluice.api;

/**
 * Where a generation's time went, in microseconds of wall clock.
 *
 * @param queueMicros from submit to the first step that carries it
 * @param prefillMicros from there to the first new token; 0 when there was none
 * @param decodeMicros from the first to the last new token
 * @param totalMicros from submit to the end
 */
public record Timings(long queueMicros, long prefillMicros, long decodeMicros, long totalMicros) {
  /** Time to first token, in microseconds. */
  public long firstTokenMicros() {
    return queueMicros + prefillMicros;
  }
}
