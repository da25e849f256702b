/** The engine as a Java library: load a checkpoint, generate, verify, measure. */
@org.jspecify.annotations.NullMarked
@SuppressWarnings({"module", "requires-automatic", "requires-transitive-automatic"})
module ai.sluice.core {
  requires transitive ai.sluice.api;
  requires transitive ai.sluice.text;
  requires ai.sluice.checkpoint;
  requires ai.sluice.jni;
  requires com.google.common;
  requires com.google.protobuf;
  requires org.slf4j;
  requires static jdk.jfr;
  requires static transitive org.jspecify;

  exports ai.sluice.core;

  provides ai.sluice.api.MemoryEstimator with
      ai.sluice.core.services.EngineMemoryEstimator;
}
