package ai.sluice.api;

/**
 * How large requests and steps were, in tokens. Requests are those of which {@link
 * LatencyMetrics#endToEnd} tells.
 *
 * @param promptTokens of a request, those found in the prefix cache included
 * @param newTokens of a request
 * @param stepTokens computed in a step
 */
public record SizeMetrics(Histogram promptTokens, Histogram newTokens, Histogram stepTokens) {}
