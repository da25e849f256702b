package ai.sluice.api;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/**
 * What an engine runs, with every automatic choice resolved.
 *
 * @param path the checkpoint
 * @param architecture the family as the checkpoint names it
 * @param backend CPU or CUDA
 * @param dtype FLOAT32 or BFLOAT16
 * @param numerics as asked
 * @param threads threads that compute
 * @param numParameters parameters of the model
 * @param vocabSize rows of the embedding
 * @param hiddenSize width of the residual stream
 * @param numLayers decoder layers
 * @param modelContextLength positions the checkpoint was made for
 * @param maxContextLength longest sequence that this engine takes
 * @param maxSequences most sequences that run at once
 * @param maxStepTokens most tokens that one step computes
 * @param blockSize tokens per KV block
 * @param kvBlocks KV blocks, summed over groups
 * @param weightBytes memory of the weights
 * @param kvCacheBytes memory of the KV cache
 * @param workspaceBytes memory of the step workspace
 * @param hostBytes memory of the host beside a GPU; 0 on the CPU
 * @param eosTokenIds tokens that end a generation
 * @param heads output heads, in the model's order
 * @param sampling sampling values where a request sets none
 * @param hasTokenizer whether requests may be text
 * @param hasChatTemplate whether requests may be chat messages
 * @param kernels the kernels of each operation: on a GPU those that were launched until now, where
 *     any were, else what would be chosen
 * @param notes what the load decided that a user may want to know, in words
 */
public record ModelInfo(
    Path path,
    String architecture,
    Backend backend,
    ComputeDtype dtype,
    Numerics numerics,
    int threads,
    long numParameters,
    int vocabSize,
    int hiddenSize,
    int numLayers,
    int modelContextLength,
    int maxContextLength,
    int maxSequences,
    int maxStepTokens,
    int blockSize,
    long kvBlocks,
    long weightBytes,
    long kvCacheBytes,
    long workspaceBytes,
    long hostBytes,
    List<Integer> eosTokenIds,
    List<ModelHead> heads,
    SamplingDefaults sampling,
    boolean hasTokenizer,
    boolean hasChatTemplate,
    Map<String, String> kernels,
    List<String> notes) {
  /** Copies the collections. */
  public ModelInfo {
    eosTokenIds = List.copyOf(eosTokenIds);
    heads = List.copyOf(heads);
    kernels = Map.copyOf(kernels);
    notes = List.copyOf(notes);
  }
}
