package ai.sluice.eval.endpoint;

import ai.sluice.eval.LoopbackServer;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.OutputStream;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * An OpenAI-compatible server whose tokens are words with the space before them, each as likely as
 * {@link #logprob} says.
 */
class FakeEndpoint implements LoopbackServer.Handler {
  static final ObjectMapper JSON = new ObjectMapper();
  private static final Pattern TOKEN = Pattern.compile(" ?[\\p{L}\\p{N}]+|\\s|.", Pattern.DOTALL);

  /** What is generated. */
  String answer = " 4 and 4";

  /** Whether the prompt's first token is one that the text does not have. */
  boolean bos;

  /** Whether tokens are shown without the space before them. */
  boolean stripped;

  @Override
  public void answer(LoopbackServer.Request request, OutputStream out) throws IOException {
    JsonNode response =
        switch (request.path()) {
          case "/v1/models" -> models();
          case "/v1/completions" -> completion(JSON.readTree(request.body()));
          case "/v1/chat/completions" -> chat(JSON.readTree(request.body()));
          default -> throw new AssertionError(request.path());
        };
    LoopbackServer.respond(out, 200, "Content-Type: application/json\r\n", response.toString());
  }

  /** How likely a token is. */
  static double logprob(String token) {
    return -1 - Math.abs(token.hashCode() % 1000) / 256.0;
  }

  List<String> tokens(String text) {
    List<String> out = new ArrayList<>();
    Matcher matcher = TOKEN.matcher(text);
    while (matcher.find()) {
      out.add(matcher.group());
    }
    return out;
  }

  JsonNode models() {
    ObjectNode out = JSON.createObjectNode();
    ArrayNode data = out.putArray("data");
    data.addObject().put("id", "other");
    data.addObject().put("id", "toy").put("root", "org/toy-1").put("max_model_len", 4096)
        .put("created", 7).put("owned_by", "us").putNull("parent");
    return out;
  }

  JsonNode completion(JsonNode body) {
    ObjectNode out = JSON.createObjectNode();
    ObjectNode choice = out.putArray("choices").addObject().put("index", 0);
    List<String> prompt = tokens(body.path("prompt").asText());
    int extra = bos ? 1 : 0;
    if (body.path("echo").asBoolean()) {
      ObjectNode told = choice.putObject("logprobs");
      ArrayNode shown = told.putArray("tokens");
      ArrayNode own = told.putArray("token_logprobs");
      ArrayNode top = told.putArray("top_logprobs");
      List<String> all = new ArrayList<>(prompt);
      all.add("generated");
      if (bos) {
        all.add(0, "<s>");
      }
      for (int i = 0; i < all.size(); i++) {
        String token = all.get(i);
        shown.add(stripped ? token.strip() : token);
        if (i == 0) {
          own.addNull();
          top.addNull();
        } else {
          own.add(logprob(token));
          ObjectNode best = top.addObject().put(token, logprob(token));
          if (!token.equals(" B")) {
            best.put("likelier", -0.5);
          }
        }
      }
    } else {
      choice.put("text", answer);
    }
    usage(out, prompt.size() + extra, body.path("echo").asBoolean() ? 1 : 3);
    return out;
  }

  JsonNode chat(JsonNode body) {
    ObjectNode out = JSON.createObjectNode();
    out.putArray("choices").addObject().putObject("message").put("role", "assistant")
        .put("content", answer);
    usage(out, 11, 3);
    return out;
  }

  private static void usage(ObjectNode out, int prompt, int completion) {
    out.putObject("usage").put("prompt_tokens", prompt).put("completion_tokens", completion)
        .putObject("prompt_tokens_details").put("cached_tokens", 2);
  }
}
