package ai.sluice.openai.batch;

import ai.sluice.api.GenerationRequest;
import ai.sluice.openai.CompletionWork;
import ai.sluice.openai.Endpoint;
import ai.sluice.openai.OpenAiError;
import ai.sluice.openai.OpenAiException;
import ai.sluice.openai.OpenAiRequest;
import ai.sluice.openai.ServedModel;
import ai.sluice.openai.StrictBody;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Makes requests of input lines. Not thread-safe. */
final class LineReader {
  private static final int MAX_ID_LENGTH = 512;
  private static final Set<String> FIELDS = Set.of("custom_id", "method", "url", "body");

  private final IdSet ids = new IdSet();
  private final MessageDigest digest = BatchInput.sha256();
  private final ServedModel model;
  private final BatchOptions options;

  LineReader(ServedModel model, BatchOptions options) {
    this.model = model;
    this.options = options;
  }

  /** A line that is no request: nobody could send it to an endpoint. */
  static final class BadLine extends Exception {
    private static final long serialVersionUID = 1L;

    private final String code;
    private final @Nullable String customId;

    BadLine(String code, String message, @Nullable String customId) {
      super(message, null, false, false);
      this.code = code;
      this.customId = customId;
    }

    String code() {
      return code;
    }

    @Nullable String customId() {
      return customId;
    }
  }

  /** A line's id and body. */
  record Envelope(String customId, Endpoint endpoint, ObjectNode body) {}

  /** Takes note of the id of a line that is answered already. */
  void pass(InputLine line) {
    try {
      customId(object(line));
    } catch (BadLine e) {
      // Its error is in the output.
    }
  }

  /**
   * Reads a line up to its body.
   *
   * @throws BadLine if it is no request
   */
  Envelope read(InputLine line) throws BadLine {
    ObjectNode object = object(line);
    String id = customId(object);
    JsonNode method = object.get("method");
    if (method != null && !"POST".equals(method.textValue())) {
      throw bad("method", method, "\"POST\"", id);
    }
    Iterator<String> names = object.fieldNames();
    while (names.hasNext()) {
      String name = names.next();
      if (!FIELDS.contains(name)) {
        throw new BadLine(
            "invalid_line",
            clip(name) + ": unknown (expected: custom_id, method, url and body)",
            id);
      }
    }
    JsonNode body = object.get("body");
    if (!(body instanceof ObjectNode fields)) {
      throw bad("body", body, "an object", id);
    }
    return new Envelope(id, endpoint(object.get("url"), fields, id), fields);
  }

  private static ObjectNode object(InputLine line) throws BadLine {
    if (line.isTooLong()) {
      throw new BadLine(
          "line_too_long",
          "line: " + line.length() + " bytes (expected: at most " + InputLine.MAX_LENGTH + ")",
          null);
    }
    try {
      return StrictBody.parse(withoutMark(line));
    } catch (OpenAiException e) {
      throw new BadLine(
          "invalid_json", e.error().message().replaceFirst("^body: ", "line: "), null);
    }
  }

  /** Without the byte order mark that some editors put before the first line. */
  private static byte[] withoutMark(InputLine line) {
    byte[] bytes = line.bytes();
    boolean marked =
        line.number() == 1
            && bytes.length >= 3
            && (bytes[0] & 0xFF) == 0xEF
            && (bytes[1] & 0xFF) == 0xBB
            && (bytes[2] & 0xFF) == 0xBF;
    return marked ? Arrays.copyOfRange(bytes, 3, bytes.length) : bytes;
  }

  private String customId(ObjectNode object) throws BadLine {
    JsonNode node = object.get("custom_id");
    if (node == null || !node.isTextual()) {
      throw bad("custom_id", node, "a string", null);
    }
    String id = node.textValue();
    if (id.isEmpty() || id.length() > MAX_ID_LENGTH) {
      throw new BadLine(
          "invalid_line",
          "custom_id: " + id.length() + " characters (expected: 1 to " + MAX_ID_LENGTH + ")",
          null);
    }
    if (!StandardCharsets.UTF_8.newEncoder().canEncode(id)) {
      throw new BadLine(
          "invalid_line", "custom_id: half a surrogate pair (expected: valid Unicode)", null);
    }
    if (!ids.add(id)) {
      // Without the id: it stands once in the output, with the earlier line's answer.
      throw new BadLine(
          "duplicate_custom_id",
          "custom_id: \"" + clip(id) + "\" is an earlier line's (expected: one of its own)",
          null);
    }
    return id;
  }

  private static Endpoint endpoint(@Nullable JsonNode url, ObjectNode body, String id)
      throws BadLine {
    if (url == null) {
      return body.has("messages") ? Endpoint.CHAT_COMPLETIONS : Endpoint.COMPLETIONS;
    }
    if (url.isTextual()) {
      return Endpoint.ofPath(url.textValue())
          .orElseThrow(() -> bad("url", url, Endpoint.paths(), id));
    }
    throw bad("url", url, Endpoint.paths(), id);
  }

  private static BadLine bad(
      String field, @Nullable JsonNode value, String expected, @Nullable String id) {
    String shown =
        value == null ? "missing" : value.isContainerNode() ? "no text" : clip(value.toString());
    return new BadLine(
        "invalid_line", field + ": " + shown + " (expected: " + expected + ")", id);
  }

  private static String clip(String text) {
    return text.length() <= 80 ? text : text.substring(0, 80) + "…";
  }

  /**
   * Reads a line's body.
   *
   * @throws OpenAiException if it cannot be served
   */
  BatchLine open(Envelope envelope, LineId id, long bytes) {
    OpenAiRequest request = OpenAiRequest.parse(envelope.endpoint(), envelope.body());
    model.nameFor(request);
    if (request.stream()) {
      throw new OpenAiException(
          new OpenAiError(
              400,
              OpenAiError.INVALID,
              "stream: true (expected: false; a batch answers in whole lines)",
              "stream",
              "unsupported_value"));
    }
    List<GenerationRequest> requests = new ArrayList<>();
    for (GenerationRequest each : request.requests()) {
      GenerationRequest.Builder builder = each.toBuilder();
      if (each.seed().isEmpty()) {
        builder.seed(seed(envelope.customId(), requests.size()));
      }
      options.timeout().ifPresent(builder::timeout);
      requests.add(builder.build());
    }
    OpenAiRequest seeded = request.withRequests(requests);
    return new BatchLine(
        id, envelope.customId(), seeded, CompletionWork.of(seeded, model), bytes);
  }

  private long seed(String customId, int index) {
    digest.reset();
    digest.update(
        ByteBuffer.allocate(12).putLong(options.seed()).putInt(index).flip());
    digest.update(customId.getBytes(StandardCharsets.UTF_8));
    return ByteBuffer.wrap(digest.digest()).getLong();
  }
}
