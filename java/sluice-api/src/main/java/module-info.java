/** Exceptions, options, requests and results of Sluice: plain Java without native code. */
@org.jspecify.annotations.NullMarked
module ai.sluice.api {
  requires static transitive org.jspecify;

  exports ai.sluice.api;

  uses ai.sluice.api.MemoryEstimator;
}
