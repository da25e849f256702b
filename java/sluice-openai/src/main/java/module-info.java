/** OpenAI's request and response bodies over the library, and files of them answered in bulk. */
@org.jspecify.annotations.NullMarked
@SuppressWarnings({"module", "requires-automatic", "requires-transitive-automatic"})
module ai.sluice.openai {
  requires transitive ai.sluice.core;
  requires transitive com.fasterxml.jackson.databind;
  requires static transitive org.jspecify;

  exports ai.sluice.openai;
  exports ai.sluice.openai.batch;
}
