/**
 * Checkpoints: safetensors, GGUF, config.json and the model families. Turns a folder or file into a
 * {@code ModelSpec} and a list of weight transfers; no native code, no weight is ever decoded here.
 */
@org.jspecify.annotations.NullMarked
@SuppressWarnings({"module", "requires-automatic", "requires-transitive-automatic"})
module ai.sluice.checkpoint {
  requires transitive ai.sluice.api;
  requires transitive com.google.protobuf;
  requires com.fasterxml.jackson.core;
  requires com.fasterxml.jackson.databind;
  requires com.google.common;
  requires static transitive org.jspecify;

  // Checkpoints hand out messages of the engine's protocol, which is no public interface.
  exports ai.sluice.checkpoint to
      ai.sluice.core,
      ai.sluice.cli,
      ai.sluice.eval;
  exports ai.sluice.proto to
      ai.sluice.core,
      ai.sluice.cli,
      ai.sluice.eval;
}
