/**
 * Scheduling of sequences into steps. Hidden from users. Everything here but {@code EngineLoop}
 * belongs to one thread, takes the time as an argument and runs without native code.
 */
@org.jspecify.annotations.NullMarked
package ai.sluice.core.scheduler;
