package ai.sluice.api;

/**
 * How long requests took, in seconds. A request is one sequence: of {@code n} alternatives each
 * counts. Queue times are those of every request that began to run; the first token and the times
 * between tokens are taken as they come; the others are of requests that ended by themselves or timed
 * out, since a cancelled one was as long as its caller wished.
 *
 * @param timeToFirstToken from submit to the first new token
 * @param interToken from one new token to the next; tokens of one accepted draft share the time of
 *     their step evenly
 * @param endToEnd from submit to the end
 * @param queue from submit to the first step that carries the request
 * @param prefill from there to the first new token
 * @param decode from the first to the last new token
 * @param inference from the first step to the last new token: prefill and decode
 */
public record LatencyMetrics(
    Histogram timeToFirstToken,
    Histogram interToken,
    Histogram endToEnd,
    Histogram queue,
    Histogram prefill,
    Histogram decode,
    Histogram inference) {}
