package ai.sluice.api;

/**
 * Works out memory plans, for {@link MemoryPlan#estimate}. Given by the engine's module as a
 * service; needs a public constructor without arguments.
 */
public interface MemoryEstimator {
  /** Does what {@link MemoryPlan#estimate} says. */
  MemoryPlan estimate(EngineOptions options);
}
