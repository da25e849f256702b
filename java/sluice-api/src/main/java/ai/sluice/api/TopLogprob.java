package ai.sluice.api;

/**
 * One of the likeliest tokens at a position.
 *
 * @param token the token's id
 * @param text the token decoded alone; empty when the engine has no tokenizer
 * @param logprob natural log-probability under the softmax of the raw logits
 */
public record TopLogprob(int token, String text, double logprob) {}
