package ai.sluice.api;

/**
 * Sampling values in force where a request sets none, and where they come from.
 *
 * @param sampling every value set, apart from the bias
 * @param source in words, for example {@code generation_config.json} or {@code built in}
 */
public record SamplingDefaults(Sampling sampling, String source) {}
