package ai.sluice.core;

import ai.sluice.api.EngineOptions;
import ai.sluice.api.ExpertLoad;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.core.scheduler.ExpertCounts;
import ai.sluice.proto.LayerSpec;
import ai.sluice.proto.ModelSpec;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Counts of tokens per expert, as wide as a model needs them, and what users see of them. */
final class ExpertLoads {
  private ExpertLoads() {}

  /** Counts for an engine of this model; none unless the options ask for them. */
  static ExpertCounts counts(EngineOptions options, ModelSpec spec) {
    return options.reportExpertCounts()
        ? new ExpertCounts(spec.getLayersCount(), mostExperts(spec))
        : ExpertCounts.none();
  }

  /** The most experts that a layer has; 0 for a model without experts. */
  static int mostExperts(ModelSpec spec) {
    return spec.getLayersList().stream().mapToInt(ExpertLoads::experts).max().orElse(0);
  }

  private static int experts(LayerSpec layer) {
    return layer.hasMoe() ? layer.getMoe().getNumExperts() : 0;
  }

  /**
   * What was counted so far.
   *
   * @throws InvalidRequestException if nothing is counted
   */
  static ExpertLoad of(ExpertCounts counts, ModelSpec spec) {
    if (!counts.reported()) {
      throw new InvalidRequestException(
          "reportExpertCounts: false (expected: true in the engine's options, for expertLoad)");
    }
    ExpertCounts.Snapshot snapshot = counts.snapshot();
    List<ExpertLoad.Layer> layers = new ArrayList<>();
    for (int layer = 0; layer < spec.getLayersCount(); layer++) {
      int experts = experts(spec.getLayers(layer));
      if (experts > 0) {
        layers.add(
            new ExpertLoad.Layer(
                layer,
                list(snapshot.tokens(layer, experts)),
                list(snapshot.lastStepTokens(layer, experts))));
      }
    }
    return new ExpertLoad(snapshot.steps(), layers);
  }

  private static List<Long> list(long[] values) {
    return Arrays.stream(values).boxed().toList();
  }
}
