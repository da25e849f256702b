/** What is derived from a run: results, samples, and the check that they still agree. */
package ai.sluice.eval.report;
