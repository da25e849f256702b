package ai.sluice.eval.endpoint;

import ai.sluice.api.InvalidRequestException;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.net.URI;
import java.time.Duration;
import java.util.Collections;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/**
 * How a server is asked. A key is no part of it: settings may be printed.
 *
 * @param url before {@code /completions}: {@code http://localhost:8000/v1}
 * @param model as the server names it
 * @param chat whether questions go to {@code /chat/completions}, under the server's own template
 * @param window requests open at once
 * @param timeout of one request
 * @param attempts at most, the first among them
 * @param pause before the second attempt unless the server names one; doubled before each later
 * @param fields what else stands in each request, by name, as JSON: {@code repetition_penalty} is
 *     {@code 1.0}, where a server's default is another
 */
public record EndpointSettings(
    URI url,
    String model,
    boolean chat,
    int window,
    Duration timeout,
    int attempts,
    Duration pause,
    SortedMap<String, String> fields) {
  private static final Set<String> OWN =
      Set.of(
          "model", "prompt", "messages", "max_tokens", "max_completion_tokens", "temperature",
          "seed", "stop", "echo", "logprobs", "n", "best_of", "stream", "continue_final_message",
          "add_generation_prompt");
  private static final int WINDOW = 8;
  private static final int ATTEMPTS = 6;

  /** @throws InvalidRequestException when a value is out of its range */
  public EndpointSettings {
    if (model.isBlank()) {
      throw new InvalidRequestException("model: empty (expected: a name that the server knows)");
    }
    if (window < 1 || window > 1024) {
      throw new InvalidRequestException("window: " + window + " (expected: 1 to 1024)");
    }
    if (attempts < 1 || attempts > 20) {
      throw new InvalidRequestException("attempts: " + attempts + " (expected: 1 to 20)");
    }
    if (timeout.isNegative() || timeout.isZero() || pause.isNegative()) {
      throw new InvalidRequestException(
          "timeout: " + timeout + ", pause: " + pause + " (expected: a timeout above 0, a pause of"
              + " at least 0)");
    }
    fields = Collections.unmodifiableSortedMap(new TreeMap<>(fields));
    fields.forEach(EndpointSettings::check);
  }

  private static void check(String name, String json) {
    if (name.isBlank() || OWN.contains(name)) {
      throw new InvalidRequestException(
          "endpoint field: \"" + name + "\" (expected: another name than what every request has: "
              + String.join(", ", new TreeSet<>(OWN)) + ")");
    }
    try {
      if (EndpointHttp.JSON.readTree(json).isMissingNode()) {
        throw new InvalidRequestException("endpoint field: " + name + ": empty (expected: JSON)");
      }
    } catch (JsonProcessingException e) {
      throw new InvalidRequestException(
          "endpoint field: " + name + ": " + json + " (expected: JSON, such as 1.0 or true)", e);
    }
  }

  /** The fields in a request. */
  void addFields(ObjectNode body) {
    fields.forEach(
        (name, json) -> {
          try {
            body.set(name, EndpointHttp.JSON.readTree(json));
          } catch (JsonProcessingException e) {
            throw new IllegalStateException("checked when it was set", e);
          }
        });
  }

  /**
   * Plain completions, 8 requests at once, 10 minutes for each, 6 attempts from a second apart.
   *
   * @param url with or without {@code /v1} or {@code /v1/completions} behind the host
   * @param model as the server names it
   * @throws InvalidRequestException when the URL is not one of http or https, or holds a password
   */
  public static EndpointSettings of(String url, String model) {
    return new EndpointSettings(
        base(url), model, false, WINDOW, Duration.ofMinutes(10), ATTEMPTS, Duration.ofSeconds(1),
        new TreeMap<>());
  }

  /** The same with questions as conversations. */
  public EndpointSettings withChat(boolean value) {
    return new EndpointSettings(url, model, value, window, timeout, attempts, pause, fields);
  }

  /** The same with so many requests open at once. */
  public EndpointSettings withWindow(int value) {
    return new EndpointSettings(url, model, chat, value, timeout, attempts, pause, fields);
  }

  /** The same with another patience. */
  public EndpointSettings withPatience(Duration each, int most, Duration first) {
    return new EndpointSettings(url, model, chat, window, each, most, first, fields);
  }

  /** The same with more in each request: names with their JSON. */
  public EndpointSettings withFields(Map<String, String> more) {
    return new EndpointSettings(
        url, model, chat, window, timeout, attempts, pause, new TreeMap<>(more));
  }

  /** A path behind the URL. */
  URI uri(String path) {
    return URI.create(url + path);
  }

  private static URI base(String text) {
    @Nullable URI uri = null;
    try {
      uri = URI.create(text);
    } catch (IllegalArgumentException e) {
      // Said below.
    }
    String scheme = uri == null ? "" : String.valueOf(uri.getScheme()).toLowerCase(Locale.ROOT);
    if (uri == null || uri.getHost() == null || uri.getQuery() != null || uri.getFragment() != null
        || (!scheme.equals("http") && !scheme.equals("https"))) {
      throw new InvalidRequestException(
          "endpoint: " + text.replaceAll("//[^/]*@", "//***@")
              + " (expected: a URL such as http://localhost:8000/v1)");
    }
    if (uri.getUserInfo() != null) {
      throw new InvalidRequestException(
          "endpoint: a password in the URL of " + uri.getHost()
              + " (expected: none, it would be written down; remedy: an API key comes from an"
              + " environment variable)");
    }
    String path = uri.getRawPath() == null ? "" : uri.getRawPath();
    path = path.replaceAll("/+$", "").replaceAll("/(chat/)?completions$", "");
    return URI.create(
        scheme + "://" + uri.getRawAuthority() + (path.isEmpty() ? "/v1" : path));
  }
}
