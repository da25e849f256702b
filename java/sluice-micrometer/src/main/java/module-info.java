/** The metrics of an engine for a Micrometer registry. */
@org.jspecify.annotations.NullMarked
@SuppressWarnings({"module", "requires-automatic", "requires-transitive-automatic"})
module ai.sluice.micrometer {
  requires transitive ai.sluice.core;
  requires transitive micrometer.core;
  requires static transitive org.jspecify;

  exports ai.sluice.micrometer;
}
