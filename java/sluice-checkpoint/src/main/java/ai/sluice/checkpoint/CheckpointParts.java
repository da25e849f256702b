package ai.sluice.checkpoint;

import ai.sluice.api.Sampling;
import ai.sluice.checkpoint.arch.ModelPlan;
import com.google.common.collect.ImmutableMap;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/** What the readers of the two formats hand to {@link Checkpoint}. */
record CheckpointParts(
    Path path,
    CheckpointFormat format,
    Optional<String> name,
    ModelPlan plan,
    TensorDirectory tensors,
    WeightBinder.Bound bound,
    Sampling sampling,
    Optional<String> samplingSource,
    List<Integer> bosTokenIds,
    List<Integer> eosTokenIds,
    Optional<TokenizerSource> tokenizer,
    Optional<String> bosToken,
    Optional<String> eosToken,
    ImmutableMap<String, String> chatTemplates,
    List<String> notes) {}
