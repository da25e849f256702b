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

  private LogprobsJson() {}

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

  /**
   * A completion's: arrays with an entry for each token.
   *
   * @param offset characters of the choice's text before the first token
   */
  static void completion(ObjectNode json, List<TokenLogprob> logprobs, int offset) {
    ArrayNode tokens = json.putArray("tokens");
    ArrayNode values = json.putArray("token_logprobs");
    ArrayNode tops = json.putArray("top_logprobs");
    ArrayNode offsets = json.putArray("text_offset");
    int at = offset;
    for (TokenLogprob logprob : logprobs) {
      tokens.add(logprob.text());
      values.add(logprob.logprob());
      ObjectNode top = tops.addObject();
      for (TopLogprob other : logprob.top()) {
        // Tokens that look alike share a key; the likeliest, which comes first, keeps it.
        if (!top.has(other.text())) {
          top.put(other.text(), other.logprob());
        }
      }
      offsets.add(at);
      at += logprob.text().length();
    }
  }
}
