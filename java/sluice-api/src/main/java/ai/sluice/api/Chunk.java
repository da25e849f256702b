package ai.sluice.api;

import java.util.List;

/**
 * A piece of a generation, in order. The texts of all chunks joined are the result's text; none
 * ends inside a character. A slow reader gets fewer, longer chunks, never fewer characters.
 *
 * @param kind what the text is
 * @param index which of the request's alternatives it belongs to, from 0
 * @param text the new text; empty only when there is no tokenizer or nothing is left but tokens
 *     without text
 * @param tokens ids of the tokens behind the text
 * @param logprobs one entry per token when the request asked for log-probabilities, else empty
 */
public record Chunk(
    ChunkKind kind, int index, String text, List<Integer> tokens, List<TokenLogprob> logprobs) {
  /** Copies the lists. */
  public Chunk {
    tokens = List.copyOf(tokens);
    logprobs = List.copyOf(logprobs);
  }
}
