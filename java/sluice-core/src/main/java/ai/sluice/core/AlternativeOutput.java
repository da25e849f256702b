package ai.sluice.core;

import ai.sluice.api.Chunk;
import ai.sluice.api.ChunkKind;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.TokenLogprob;
import ai.sluice.api.ToolCall;
import ai.sluice.api.ToolCallDelta;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * What one alternative of a generation said so far, and which pieces of it were not read yet. Not
 * thread-safe: its generation's lock guards it.
 */
final class AlternativeOutput {
  /** A stretch of output that was not read yet; grows until it is. */
  static final class Piece {
    final AlternativeOutput owner;
    final ChunkKind kind;
    private final int call;
    private final String callId;
    private final String callName;
    private final StringBuilder source;
    private final int textBegin;
    private int textEnd;
    private final int tokensBegin;
    private int tokensEnd;
    private int textBytes;

    private Piece(
        AlternativeOutput owner,
        ChunkKind kind,
        int call,
        String callId,
        String callName,
        StringBuilder source) {
      this.owner = owner;
      this.kind = kind;
      this.call = call;
      this.callId = callId;
      this.callName = callName;
      this.source = source;
      textBegin = source.length();
      textEnd = textBegin;
      tokensBegin = owner.publishedTokens;
      tokensEnd = tokensBegin;
    }

    Chunk chunk() {
      String text = source.substring(textBegin, textEnd);
      boolean isCall = kind == ChunkKind.TOOL_CALL;
      return new Chunk(
          kind,
          owner.index,
          isCall ? "" : text,
          owner.tokens.subList(tokensBegin, tokensEnd),
          owner.logprobs.isEmpty()
              ? List.of()
              : owner.logprobs.subList(tokensBegin, tokensEnd),
          isCall
              ? Optional.of(
                  new ToolCallDelta(call, textOf(callId), textOf(callName), text))
              : Optional.empty());
    }

    private static Optional<String> textOf(String value) {
      return value.isEmpty() ? Optional.empty() : Optional.of(value);
    }

  }

  final int index;
  final StringBuilder answer = new StringBuilder();
  final StringBuilder reasoning = new StringBuilder();
  final List<ToolCall> toolCalls = new ArrayList<>();
  final List<Integer> tokens = new ArrayList<>();
  final List<TokenLogprob> logprobs = new ArrayList<>();
  @Nullable GenerationResult outcome;

  /** Arguments of the call that is being written. */
  private StringBuilder arguments = new StringBuilder();

  private int publishedTokens;
  private int unreadTokens;
  private long unreadTextBytes;
  /** The piece that may still grow, because nobody has read it. */
  private @Nullable Piece last;

  AlternativeOutput(int index) {
    this.index = index;
  }

  /**
   * Hands more text out, together with all tokens added so far.
   *
   * @return the piece that was begun for it, or null where an unread one has grown
   */
  @Nullable Piece publish(ChunkKind kind, String more) {
    Piece piece = last;
    Piece begun = null;
    // What has no text of its own belongs to whatever came last.
    if (piece == null || piece.kind != kind && !more.isEmpty()) {
      StringBuilder source = kind == ChunkKind.REASONING ? reasoning : answer;
      piece = new Piece(this, kind, 0, "", "", source);
      begun = piece;
    }
    grow(piece, more);
    return begun;
  }

  /** Begins a call of a tool. */
  Piece beginCall(int call, String id, String name) {
    arguments = new StringBuilder();
    Piece piece = new Piece(this, ChunkKind.TOOL_CALL, call, id, name, arguments);
    piece.textBytes = id.length() + name.length();
    unreadTextBytes += piece.textBytes;
    grow(piece, "");
    return piece;
  }

  /**
   * Hands more of the arguments of the call begun last out.
   *
   * @return the piece that was begun for it, or null where an unread one has grown
   */
  @Nullable Piece continueCall(int call, String more) {
    Piece piece = last;
    Piece begun = null;
    if (piece == null || piece.kind != ChunkKind.TOOL_CALL || piece.call != call) {
      piece = new Piece(this, ChunkKind.TOOL_CALL, call, "", "", arguments);
      begun = piece;
    }
    grow(piece, more);
    return begun;
  }

  private void grow(Piece piece, String more) {
    piece.source.append(more);
    piece.textEnd = piece.source.length();
    int bytes = utf8Length(more);
    piece.textBytes += bytes;
    unreadTextBytes += bytes;
    unreadTokens += tokens.size() - publishedTokens;
    publishedTokens = tokens.size();
    piece.tokensEnd = publishedTokens;
    last = piece;
  }

  /** A piece was read, so it must not grow any more. */
  void read(Piece piece) {
    if (last == piece) {
      last = null;
    }
    unreadTextBytes -= piece.textBytes;
    unreadTokens -= piece.tokensEnd - piece.tokensBegin;
  }

  /** Whether tokens were added that belong to no piece yet. */
  boolean hasTokensToPublish() {
    return publishedTokens < tokens.size();
  }

  /** How much of it was not read yet, in bytes of text or of tokens, whichever is more. */
  long unreadBytes() {
    return Math.max(unreadTextBytes, (long) unreadTokens * Integer.BYTES);
  }

  private static int utf8Length(String text) {
    int bytes = 0;
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      bytes += c < 0x80 ? 1 : c < 0x800 || Character.isSurrogate(c) ? 2 : 3;
    }
    return bytes;
  }
}
