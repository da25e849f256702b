package ai.sluice.core;

import ai.sluice.api.ModelInfo;
import ai.sluice.api.SamplingDefaults;
import ai.sluice.checkpoint.Checkpoint;
import ai.sluice.proto.EngineInfo;
import ai.sluice.proto.KernelChoice;
import ai.sluice.proto.KvGroupInfo;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** Makes the description of a loaded model. */
final class ModelInfos {
  private ModelInfos() {}

  static ModelInfo of(
      LoadedModel model, SamplingDefaults sampling, EosTokens eosTokens, boolean tokenizer) {
    Checkpoint checkpoint = model.checkpoint();
    ResolvedOptions options = model.options();
    EngineInfo info = model.info();
    long blocks = 0;
    for (KvGroupInfo group : info.getKvGroupsList()) {
      blocks += group.getNumBlocks();
    }
    List<String> notes = new ArrayList<>(options.notes());
    notes.addAll(checkpoint.notes());
    eosTokens.note().ifPresent(notes::add);
    return new ModelInfo(
        checkpoint.path(),
        checkpoint.architecture(),
        options.backend(),
        options.dtype(),
        options.numerics(),
        options.threads(),
        info.getNumParameters(),
        options.spec().getVocabSize(),
        options.spec().getHiddenSize(),
        options.spec().getLayersCount(),
        checkpoint.maxPositions(),
        options.maxContextLength(),
        options.maxSequences(),
        options.maxStepTokens(),
        options.blockSize(),
        blocks,
        info.getWeightBytes(),
        info.getKvCacheBytes(),
        info.getWorkspaceBytes(),
        info.getHostBytes(),
        eosTokens.ids(),
        new ModelHeads(options.spec()).all(),
        sampling,
        tokenizer,
        tokenizer && checkpoint.chatTemplate().isPresent(),
        kernels(info),
        notes);
  }

  /**
   * The same later: kernels are those launched since on a GPU, and a note tells of what the load could
   * not know.
   */
  static ModelInfo now(ModelInfo was, EngineInfo info) {
    List<String> notes = new ArrayList<>(was.notes());
    if (info.getGraphsRefused()) {
      notes.add(
          "graphs: decode steps of new batch sizes run without, slower, for want of device memory"
              + " (remedy: a smaller kvCacheBytes)");
    }
    return new ModelInfo(
        was.path(),
        was.architecture(),
        was.backend(),
        was.dtype(),
        was.numerics(),
        was.threads(),
        was.numParameters(),
        was.vocabSize(),
        was.hiddenSize(),
        was.numLayers(),
        was.modelContextLength(),
        was.maxContextLength(),
        was.maxSequences(),
        was.maxStepTokens(),
        was.blockSize(),
        was.kvBlocks(),
        was.weightBytes(),
        was.kvCacheBytes(),
        was.workspaceBytes(),
        was.hostBytes(),
        was.eosTokenIds(),
        was.heads(),
        was.sampling(),
        was.hasTokenizer(),
        was.hasChatTemplate(),
        kernels(info),
        notes);
  }

  private static Map<String, String> kernels(EngineInfo info) {
    Map<String, String> kernels = new TreeMap<>();
    for (KernelChoice kernel : info.getKernelsList()) {
      kernels.merge(kernel.getOp(), kernel.getVariant(), (a, b) -> a.equals(b) ? a : a + ", " + b);
    }
    return kernels;
  }
}
