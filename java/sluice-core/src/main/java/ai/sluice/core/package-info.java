/**
 * The engine as a library. {@link ai.sluice.core.Engine} opens a checkpoint and takes requests;
 * {@link ai.sluice.core.Generation} is one in progress. Requests, results and exceptions are in
 * {@code ai.sluice.api}.
 */
@org.jspecify.annotations.NullMarked
package ai.sluice.core;
