/** Runs generated programs where they can do no harm. */
package ai.sluice.eval.sandbox;
