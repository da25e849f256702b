/** Reading untrusted files: positions, strict JSON, and text that is safe to show. */
@org.jspecify.annotations.NullMarked
package ai.sluice.checkpoint.io;
