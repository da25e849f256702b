package ai.sluice.checkpoint;

import java.util.Map;

/**
 * What a checkpoint holds, in numbers. Counts only what the model uses.
 *
 * @param numTensors tensors
 * @param numFiles files that hold them
 * @param numParameters values of all tensors
 * @param numEmbeddingParameters those of them in the token embedding
 * @param elementsByDType values per dtype
 * @param bytesByDType bytes per dtype
 * @param totalBytes bytes of all tensors
 */
public record CheckpointSummary(
    int numTensors,
    int numFiles,
    long numParameters,
    long numEmbeddingParameters,
    Map<DType, Long> elementsByDType,
    Map<DType, Long> bytesByDType,
    long totalBytes) {

  /** Copies the maps. */
  public CheckpointSummary {
    elementsByDType = Map.copyOf(elementsByDType);
    bytesByDType = Map.copyOf(bytesByDType);
  }
}
