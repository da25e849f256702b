package ai.sluice.core.services;

import ai.sluice.api.EngineOptions;
import ai.sluice.api.MemoryEstimator;
import ai.sluice.api.MemoryPlan;
import ai.sluice.core.Engine;

/** The engine's own numbers, for whoever knows only the API. */
public final class EngineMemoryEstimator implements MemoryEstimator {
  @Override
  public MemoryPlan estimate(EngineOptions options) {
    return Engine.planMemory(options);
  }
}
