/**
 * Evaluation of models: tasks, their data and their prompts. Prompts are equal to those of lm-eval
 * 0.4.13 to the byte.
 */
package ai.sluice.eval;
