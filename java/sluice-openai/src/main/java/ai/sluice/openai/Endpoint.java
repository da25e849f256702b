package ai.sluice.openai;

import java.util.Arrays;
import java.util.Optional;
import java.util.stream.Collectors;

/** What a body is sent to. More constants may come: keep a default branch. */
public enum Endpoint {
  /** Chat messages in, a message out. */
  CHAT_COMPLETIONS("/v1/chat/completions"),
  /** Texts or token ids in, their continuations out. */
  COMPLETIONS("/v1/completions");

  private final String path;

  Endpoint(String path) {
    this.path = path;
  }

  /** The path of its URL. */
  public String path() {
    return path;
  }

  /** The endpoint of a path, if there is one. */
  public static Optional<Endpoint> ofPath(String path) {
    return Arrays.stream(values()).filter(endpoint -> endpoint.path.equals(path)).findFirst();
  }

  /** The paths that there are, for messages. */
  public static String paths() {
    return Arrays.stream(values()).map(Endpoint::path).collect(Collectors.joining(" or "));
  }
}
