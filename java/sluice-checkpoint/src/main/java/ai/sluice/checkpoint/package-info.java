/**
 * Reads checkpoints. {@link ai.sluice.checkpoint.Checkpoint#open} is the way in; the file formats
 * are usable on their own. Every type is immutable and safe to share between threads unless its
 * Javadoc says otherwise; no file stays open after a method returned.
 */
@org.jspecify.annotations.NullMarked
package ai.sluice.checkpoint;
