package ai.sluice.openai;

import ai.sluice.api.TokenLogprob;
import ai.sluice.api.TopLogprob;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.util.List;

/** Writes log-probabilities in the two forms that OpenAI has for them. */
final class LogprobsJson {
  private static final char REPLACEMENT = '\uFFFD';

  /** A chat's: one object for each token. */
  static void chat(ObjectNode json, List<TokenLogprob> logprobs) {
    ArrayNode content = json.putArray("content");
    for (TokenLogprob logprob : logprobs) {
      ObjectNode token = content.addObject();
      token(token, logprob.text(), logprob.logprob());
      ArrayNode top = token.putArray("top_logprobs");
      for (TopLogprob other : logprob.top()) {
        token(top.addObject(), other.text(), other.logprob());
      }
    }
    json.putNull("refusal");
  }

  private static void token(ObjectNode json, String text, double logprob) {
    json.put("token", text);
    json.put("logprob", logprob);
    if (text.indexOf(REPLACEMENT) >= 0) {
      // Part of a character: its bytes are not those of the text that stands for it.
      json.putNull("bytes");
      return;
    }
    ArrayNode bytes = json.putArray("bytes");
    for (byte b : text.getBytes(StandardCharsets.UTF_8)) {
      bytes.add(b & 0xFF);
    }
  }

  private final ArrayNode tokens;
  private final ArrayNode values;
  private final ArrayNode tops;
  private final ArrayNode offsets;

  /** A completion's: arrays with an entry for each token. */
  LogprobsJson(ObjectNode json) {
    tokens = json.putArray("tokens");
    values = json.putArray("token_logprobs");
    tops = json.putArray("top_logprobs");
    offsets = json.putArray("text_offset");
  }

  /** Adds a prompt's tokens; the first has no log-probability. */
  void prompt(CompletionWork.Done done, ServedModel model) {
    int first = done.work().prompt().get(0);
    String text =
        model
            .tokenizer()
            .map(tokenizer -> tokenizer.decode(new int[] {first}, false))
            .orElse("");
    tokens.add(name(text, first));
    values.addNull();
    tops.addNull();
    offsets.add(0);
    if (done.score().isPresent()) {
      completion(done.score().get().scores().get(0).tokens(), text.length());
    }
  }

  /**
   * Adds tokens.
   *
   * @param offset characters of the choice's text before the first of them
   */
  void completion(List<TokenLogprob> logprobs, int offset) {
    int at = offset;
    for (TokenLogprob logprob : logprobs) {
      String text = name(logprob.text(), logprob.token());
      tokens.add(text);
      values.add(logprob.logprob());
      ObjectNode top = tops.addObject();
      for (TopLogprob other : logprob.top()) {
        // Tokens that look alike share a key; the likeliest, which comes first, keeps it.
        putFirst(top, name(other.text(), other.token()), other.logprob());
      }
      if (!logprob.top().isEmpty()) {
        // As OpenAI's: the token itself is there even where others are likelier.
        putFirst(top, text, logprob.logprob());
      }
      offsets.add(at);
      at += logprob.text().length();
    }
  }

  private static void putFirst(ObjectNode top, String name, double logprob) {
    if (!top.has(name)) {
      top.put(name, logprob);
    }
  }

  /** A token's text, or its id where there is no tokenizer to make one. */
  private static String name(String text, int token) {
    return text.isEmpty() ? "token_id:" + token : text;
  }
}
