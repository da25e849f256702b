package ai.sluice.core;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ScoreRequest;
import ai.sluice.text.SpecialTokens;
import ai.sluice.text.Tokenizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/**
 * Splits what is scored into a context and the tokens that are scored after it, as evaluation
 * harnesses do: {@link ScoreRequest} says how. Thread-safe.
 */
final class ScoreEncoder {
  private final PromptEncoder encoder;

  ScoreEncoder(PromptEncoder encoder) {
    this.encoder = encoder;
  }

  /**
   * Token ids of a request; every continuation stands behind the same context.
   *
   * @param context at least one token
   * @param continuations at least one token each
   */
  record Encoded(int[] context, List<int[]> continuations) {
    /** Tokens that are inputs if the context is one once: the last of a continuation never is. */
    long promptTokens() {
      long sum = context.length;
      for (int[] continuation : continuations) {
        sum += continuation.length - 1;
      }
      return sum;
    }

    /** Tokens of the longest input: the context, and a continuation but for its last token. */
    long longest() {
      long most = 0;
      for (int[] continuation : continuations) {
        most = Math.max(most, (long) context.length + continuation.length - 1);
      }
      return most;
    }
  }

  /**
   * Encodes a request.
   *
   * @throws InvalidRequestException if a token is not in the vocabulary, or nothing is to score
   * @throws ai.sluice.api.CheckpointFormatException if an input is text and the checkpoint has no
   *     tokenizer, or messages and it has no chat template
   */
  Encoded encode(ScoreRequest request) {
    if (request.textTokens().isPresent()) {
      int[] tokens = request.textTokens().get();
      encoder.requireInVocabulary("textTokens", tokens);
      return rolling(tokens);
    }
    if (request.text().isPresent()) {
      return rolling(encode(request.text().get(), true));
    }
    if (request.promptTokens().isPresent()) {
      int[] context = request.promptTokens().get();
      encoder.requireInVocabulary("promptTokens", context);
      return new Encoded(context, continuationsAlone(request));
    }
    boolean plain = request.prompt().isPresent();
    String prompt =
        plain
            ? request.prompt().get()
            : encoder.render(request.messages());
    return request.continuationTokens().isEmpty()
        ? pairs(prompt, plain, request.continuations())
        : new Encoded(contextOf(prompt, plain), continuationsAlone(request));
  }

  /** The first token is context: one that begins a document, or else the text's own. */
  private static Encoded rolling(int[] tokens) {
    if (tokens.length < 2) {
      throw new InvalidRequestException(
          "text: " + tokens.length + " tokens (expected: at least 2; the first token has no score,"
              + " and this tokenizer puts none before it)");
    }
    return new Encoded(
        new int[] {tokens[0]}, List.of(Arrays.copyOfRange(tokens, 1, tokens.length)));
  }

  private List<int[]> continuationsAlone(ScoreRequest request) {
    List<int[]> continuations = new ArrayList<>();
    List<int[]> tokens = request.continuationTokens();
    for (int i = 0; i < tokens.size(); i++) {
      encoder.requireInVocabulary("continuationTokens[" + i + "]", tokens.get(i));
      continuations.add(tokens.get(i));
    }
    for (int i = 0; i < request.continuations().size(); i++) {
      continuations.add(requireSome(i, encode(request.continuations().get(i), false)));
    }
    return continuations;
  }

  private Encoded pairs(String prompt, boolean plain, List<String> texts) {
    int end = endWithoutSpace(prompt);
    String kept = prompt.substring(0, end);
    String moved = prompt.substring(end);
    if (prompt.isEmpty()) {
      return behindPrefix(texts, moved);
    }
    int[] context = encode(kept, plain);
    if (context.length == 0) {
      return behindPrefix(texts, moved);
    }
    List<int[]> continuations = new ArrayList<>(texts.size());
    for (int i = 0; i < texts.size(); i++) {
      int[] whole = encode(kept + moved + texts.get(i), plain);
      continuations.add(
          requireSome(
              i, Arrays.copyOfRange(whole, Math.min(context.length, whole.length), whole.length)));
    }
    return new Encoded(context, continuations);
  }

  /** An empty prompt: the token that begins or ends a document, unless a continuation has it. */
  private Encoded behindPrefix(List<String> texts, String moved) {
    int prefix = prefixToken();
    List<int[]> continuations = new ArrayList<>(texts.size());
    for (int i = 0; i < texts.size(); i++) {
      int[] tokens = requireSome(i, encode(moved + texts.get(i), false));
      continuations.add(
          tokens[0] == prefix
              ? requireSome(i, Arrays.copyOfRange(tokens, 1, tokens.length))
              : tokens);
    }
    return new Encoded(new int[] {prefix}, continuations);
  }

  private int[] contextOf(String prompt, boolean plain) {
    int[] tokens = prompt.isEmpty() ? new int[0] : encode(prompt, plain);
    return tokens.length == 0 ? new int[] {prefixToken()} : tokens;
  }

  private int prefixToken() {
    SpecialTokens special = encoder.requireTokenizer().specialTokens();
    return special.bos()
        .or(special::eos)
        .map(SpecialTokens.Token::id)
        .orElseThrow(
            () ->
                new InvalidRequestException(
                    "prompt: empty (expected: at least one token, since this tokenizer names none"
                        + " that begins or ends a document)"));
  }

  /**
   * Tokens of a text.
   *
   * @param plain whether the tokenizer may put tokens around it; it puts no second one that begins
   *     a document before a text that starts with it
   */
  private int[] encode(String text, boolean plain) {
    Tokenizer tokenizer = encoder.requireTokenizer();
    Optional<SpecialTokens.Token> bos = tokenizer.specialTokens().bos();
    boolean begun = bos.isPresent() && text.startsWith(bos.get().text());
    return tokenizer.encode(text, plain && !begun, true);
  }

  private static int[] requireSome(int index, int[] tokens) {
    if (tokens.length == 0) {
      throw new InvalidRequestException(
          "continuations[" + index + "]: no tokens (expected: at least one of its own behind the"
              + " prompt's; the tokenizer keeps nothing of it or joins it with the prompt)");
    }
    return tokens;
  }

  private static int endWithoutSpace(String text) {
    int end = text.length();
    while (end > 0 && isPythonSpace(text.charAt(end - 1))) {
      end--;
    }
    return end;
  }

  /** What Python's str.strip() removes, which harnesses use: more than Java's. */
  private static boolean isPythonSpace(char c) {
    return c >= '\t' && c <= '\r'
        || c >= '\u001c' && c <= ' '
        || c == '\u0085'
        || c == '\u00a0'
        || c == '\u1680'
        || c >= '\u2000' && c <= '\u200a'
        || c == '\u2028'
        || c == '\u2029'
        || c == '\u202f'
        || c == '\u205f'
        || c == '\u3000';
  }
}
