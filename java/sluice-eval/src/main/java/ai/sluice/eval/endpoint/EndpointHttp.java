package ai.sluice.eval.endpoint;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.data.EnvironmentProxy;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.ConnectException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpTimeoutException;
import java.nio.charset.StandardCharsets;
import java.time.DateTimeException;
import java.time.Duration;
import java.time.Instant;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.jspecify.annotations.Nullable;

/**
 * Requests of JSON with patience: what may pass (an overloaded server, a broken connection) is
 * tried again, later each time or when the server says. Never follows redirects, since the key
 * would go along. Thread-safe.
 */
final class EndpointHttp {
  static final ObjectMapper JSON = new ObjectMapper();

  private static final Set<Integer> PASSING = Set.of(408, 425, 429, 500, 502, 503, 504, 529);
  private static final int MOST_BYTES = 32 << 20;
  private static final int MOST_SHOWN = 200;
  private static final Duration LONGEST_PAUSE = Duration.ofSeconds(60);
  private static final Duration LONGEST_ASKED = Duration.ofMinutes(5);

  private final EndpointSettings settings;
  private final Optional<String> key;
  private final HttpClient client;
  private volatile boolean closed;

  EndpointHttp(EndpointSettings settings, Optional<String> key) {
    this.settings = settings;
    this.key = key.map(String::strip).filter(text -> !text.isEmpty());
    if (!this.key.orElse("").matches("[!-~]*")) {
      throw new InvalidRequestException(
          "API key: holds white space or what is not ASCII (expected: one word; it is not shown"
              + " here)");
    }
    this.client =
        HttpClient.newBuilder()
            .version(HttpClient.Version.HTTP_1_1)
            .proxy(new EnvironmentProxy(System.getenv()))
            .followRedirects(HttpClient.Redirect.NEVER)
            .connectTimeout(Duration.ofSeconds(30))
            .build();
  }

  /** No request is tried again from here on. */
  void close() {
    closed = true;
  }

  CompletableFuture<JsonNode> get(URI uri, int attempts) {
    return attempt(request(uri).GET().build(), 1, attempts);
  }

  CompletableFuture<JsonNode> post(URI uri, JsonNode body) {
    HttpRequest request =
        request(uri)
            .header("Content-Type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString(body.toString()))
            .build();
    return attempt(request, 1, settings.attempts());
  }

  private HttpRequest.Builder request(URI uri) {
    HttpRequest.Builder builder =
        HttpRequest.newBuilder(uri)
            .timeout(settings.timeout())
            .header("Accept", "application/json");
    key.ifPresent(text -> builder.header("Authorization", "Bearer " + text));
    return builder;
  }

  private CompletableFuture<JsonNode> attempt(HttpRequest request, int number, int most) {
    CompletableFuture<HttpResponse<byte[]>> sent =
        client.sendAsync(request, head -> new BoundedBody(MOST_BYTES));
    return sent.copy()
        // The request's own time-out ends with the head of the response.
        .orTimeout(settings.timeout().toMillis(), TimeUnit.MILLISECONDS)
        .handle(
            (response, e) -> {
              if (e != null) {
                sent.cancel(true);
                return failed(request, number, most, cause(e));
              }
              return answered(request, number, most, response);
            })
        .thenCompose(next -> next);
  }

  private CompletableFuture<JsonNode> failed(
      HttpRequest request, int number, int most, Throwable e) {
    if (!(e instanceof IOException) && !(e instanceof TimeoutException)) {
      return CompletableFuture.failedFuture(e);
    }
    boolean timeout = e instanceof TimeoutException || e instanceof HttpTimeoutException;
    String why =
        timeout
            ? "no answer within " + settings.timeout().toMillis() / 1e3 + " s"
            : e instanceof ConnectException
                ? "no connection"
                : e.getMessage() == null ? e.getClass().getSimpleName() : e.getMessage();
    if (number < most && !closed && !(e instanceof BoundedBody.TooLongException)) {
      return again(request, number, most, Optional.empty());
    }
    return CompletableFuture.failedFuture(
        new EndpointException(
            request.uri(), 0,
            shown(why) + tries(number) + " (expected: an answer; remedy: check that the server runs"
                + " and that --endpoint is its URL)",
            e));
  }

  private CompletableFuture<JsonNode> answered(
      HttpRequest request, int number, int most, HttpResponse<byte[]> response) {
    int status = response.statusCode();
    if (status == 200) {
      try {
        return CompletableFuture.completedFuture(JSON.readTree(response.body()));
      } catch (JsonProcessingException e) {
        return CompletableFuture.failedFuture(
            new EndpointException(
                request.uri(), status,
                "not JSON: " + firstLine(response.body()) + " (expected: an answer of the OpenAI"
                    + " API; remedy: check that --endpoint is the URL of an API, ending in /v1)",
                e));
      } catch (IOException e) {
        return CompletableFuture.failedFuture(e);
      }
    }
    Optional<Duration> asked = response.headers().firstValue("retry-after").flatMap(this::pause);
    boolean patient = asked.isEmpty() || asked.get().compareTo(LONGEST_ASKED) <= 0;
    if (PASSING.contains(status) && number < most && !closed && patient) {
      return again(request, number, most, asked);
    }
    String told = firstLine(response.body());
    return CompletableFuture.failedFuture(
        new EndpointException(
            request.uri(), status,
            "HTTP " + status + (told.isEmpty() ? "" : ": " + told) + tries(number)
                + " (expected: 200; remedy: " + remedy(status, response, asked) + ")",
            null));
  }

  private String remedy(int status, HttpResponse<byte[]> response, Optional<Duration> asked) {
    if (status == 401 || status == 403) {
      return key.isEmpty()
          ? "the server wants an API key, which comes from an environment variable"
          : "the API key is not the server's";
    }
    if (status >= 300 && status < 400) {
      return "it is at " + shown(response.headers().firstValue("location").orElse("another place"))
          + ", name that";
    }
    if (PASSING.contains(status)) {
      return asked.map(wait -> "the server asks to wait " + wait.toSeconds() + " s, ").orElse("")
          + "run the command again later, it goes on from there";
    }
    return status == 404
        ? "check --endpoint and --model"
        : "the server does not take this request, see its message and log";
  }

  private CompletableFuture<JsonNode> again(
      HttpRequest request, int number, int most, Optional<Duration> asked) {
    long doubled = settings.pause().toMillis() << Math.min(number - 1, 20);
    long own = Math.min(doubled, LONGEST_PAUSE.toMillis());
    // Between half and all of it, so that what failed together does not come back together.
    long wait =
        asked.map(Duration::toMillis)
            .orElseGet(() -> own - ThreadLocalRandom.current().nextLong(own / 2 + 1));
    return CompletableFuture.supplyAsync(
            () -> attempt(request, number + 1, most),
            CompletableFuture.delayedExecutor(wait, TimeUnit.MILLISECONDS))
        .thenCompose(next -> next);
  }

  /** Seconds, or a date. */
  private Optional<Duration> pause(String header) {
    String text = header.strip();
    if (text.matches("[0-9]{1,9}")) {
      return Optional.of(Duration.ofSeconds(Long.parseLong(text)));
    }
    try {
      Instant until =
          ZonedDateTime.parse(text, DateTimeFormatter.RFC_1123_DATE_TIME).toInstant();
      Duration wait = Duration.between(Instant.now(), until);
      return Optional.of(wait.isNegative() ? Duration.ZERO : wait);
    } catch (DateTimeException e) {
      return Optional.empty();
    }
  }

  private static String tries(int number) {
    return number == 1 ? "" : ", " + number + " attempts";
  }

  /** What a body says: the message of an error of the API, else its first line. */
  private String firstLine(byte[] body) {
    try {
      JsonNode json = JSON.readTree(body);
      JsonNode message = json.path("error").path("message");
      for (JsonNode each : new JsonNode[] {message, json.path("message"), json.path("detail")}) {
        if (each.isTextual()) {
          return shown(each.textValue());
        }
      }
    } catch (IOException e) {
      // Not JSON: as it is.
    }
    int length = Math.min(body.length, 4 * MOST_SHOWN);
    return shown(new String(body, 0, length, StandardCharsets.UTF_8));
  }

  // A server may repeat the key, and send what a terminal obeys.
  private String shown(String text) {
    String line = text.strip().lines().findFirst().orElse("");
    String safe = key.isEmpty() ? line : line.replace(key.get(), "***");
    String plain = safe.replaceAll("\\p{Cntrl}", "?");
    return plain.length() <= MOST_SHOWN ? plain : plain.substring(0, MOST_SHOWN) + "...";
  }

  private static Throwable cause(Throwable e) {
    @Nullable Throwable inner = e.getCause();
    return e instanceof CompletionException && inner != null ? inner : e;
  }
}
