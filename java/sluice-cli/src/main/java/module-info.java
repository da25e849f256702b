/**
 * The command line: generate, chat, classify, batch, inspect, eval, doctor, verify, bench, pull and
 * models.
 */
@org.jspecify.annotations.NullMarked
@SuppressWarnings({"module", "requires-automatic"})
module ai.sluice.cli {
  requires ai.sluice.core;
  requires ai.sluice.checkpoint;
  requires ai.sluice.jni;
  requires ai.sluice.eval;
  requires ai.sluice.openai;
  requires com.fasterxml.jackson.core;
  requires com.google.protobuf;
  requires info.picocli;
  requires org.jline;
  requires static org.jspecify;

  opens ai.sluice.cli to
      info.picocli;
}
