/** Tokenizers, incremental decoding, chat templates and grammars. */
@org.jspecify.annotations.NullMarked
module ai.sluice.text {
  requires transitive ai.sluice.api;
  requires ai.djl.tokenizers;
  requires com.fasterxml.jackson.core;
  requires com.fasterxml.jackson.databind;
  requires com.google.common;
  requires org.slf4j;
  requires static transitive org.jspecify;

  exports ai.sluice.text;
  exports ai.sluice.text.grammar;
  exports ai.sluice.text.output;
}
