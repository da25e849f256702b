/**
 * Metrics of answers and what is said of them together: extraction and exact match as lm-eval
 * 0.4.13 has them, pass@k, standard errors, confidence intervals and the comparison of two runs.
 */
@org.jspecify.annotations.NullMarked
package ai.sluice.eval.metrics;
