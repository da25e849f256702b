/** Evaluation of models: tasks with their data, prompts and metrics. */
@org.jspecify.annotations.NullMarked
@SuppressWarnings({"module", "requires-automatic", "requires-transitive-automatic"})
module ai.sluice.eval {
  requires transitive ai.sluice.api;
  requires transitive ai.sluice.core;
  requires ai.sluice.text;
  requires com.fasterxml.jackson.databind;
  requires java.net.http;
  requires static transitive org.jspecify;

  uses ai.sluice.eval.EvalTask;

  exports ai.sluice.eval;
  exports ai.sluice.eval.compare;
  exports ai.sluice.eval.data;
  exports ai.sluice.eval.endpoint;
  exports ai.sluice.eval.metrics;
  exports ai.sluice.eval.perf;
  exports ai.sluice.eval.report;
  exports ai.sluice.eval.run;
  exports ai.sluice.eval.sandbox;
}
