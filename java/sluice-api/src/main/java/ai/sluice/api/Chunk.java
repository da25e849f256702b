package ai.sluice.api;

import java.util.List;
import java.util.Optional;

/**
 * A piece of a generation. Those of one alternative come in order: the texts of its {@link
 * ChunkKind#ANSWER} chunks joined are its result's text, those of its {@link ChunkKind#REASONING}
 * chunks its reasoning. No text ends inside a character. A slow reader gets fewer, longer chunks,
 * never fewer characters.
 *
 * @param kind what the text is
 * @param index which of the request's alternatives it belongs to, from 0
 * @param text the new text; empty for a piece of a tool call, and when there is no tokenizer or
 *     nothing is left but tokens without text
 * @param tokens ids of the tokens behind this chunk; each token of an alternative is in exactly one
 *     chunk, in order, also where its text belongs to two
 * @param logprobs one entry per token when the request asked for log-probabilities, else empty
 * @param toolCall the piece of a tool call; present exactly for {@link ChunkKind#TOOL_CALL}
 */
public record Chunk(
    ChunkKind kind,
    int index,
    String text,
    List<Integer> tokens,
    List<TokenLogprob> logprobs,
    Optional<ToolCallDelta> toolCall) {
  /** Copies the lists. */
  public Chunk {
    tokens = List.copyOf(tokens);
    logprobs = List.copyOf(logprobs);
    if (toolCall.isPresent() != (kind == ChunkKind.TOOL_CALL)) {
      throw new IllegalArgumentException(
          "chunk: " + kind + (toolCall.isPresent() ? " with" : " without")
              + " a tool call (expected: one exactly for TOOL_CALL)");
    }
  }

  /** A chunk of text. */
  public Chunk(
      ChunkKind kind, int index, String text, List<Integer> tokens, List<TokenLogprob> logprobs) {
    this(kind, index, text, tokens, logprobs, Optional.empty());
  }
}
