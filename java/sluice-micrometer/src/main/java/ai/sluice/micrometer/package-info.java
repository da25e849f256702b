/** {@link ai.sluice.micrometer.SluiceMetrics} binds an engine to a Micrometer registry. */
@org.jspecify.annotations.NullMarked
package ai.sluice.micrometer;
