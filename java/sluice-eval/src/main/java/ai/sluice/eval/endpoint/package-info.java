/** Evaluation of a model behind an OpenAI-compatible server. */
package ai.sluice.eval.endpoint;
