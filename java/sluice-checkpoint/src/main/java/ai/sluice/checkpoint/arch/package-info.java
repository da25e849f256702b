/**
 * Model families: from a checkpoint's settings and tensor names to a {@code ModelSpec} and weight
 * slots. One file per family, registered by one line in {@link
 * ai.sluice.checkpoint.arch.Architectures}.
 */
@org.jspecify.annotations.NullMarked
package ai.sluice.checkpoint.arch;
