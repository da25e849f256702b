package ai.sluice.openai;

import ai.sluice.api.GenerationRequest;
import ai.sluice.api.ModelInfo;
import ai.sluice.core.Engine;
import ai.sluice.text.Tokenizer;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.LinkedHashSet;
import java.util.Optional;
import java.util.Set;

/**
 * The model that bodies are answered by. Immutable.
 *
 * @param names what bodies may call it; the first is its name in answers to bodies that name none
 * @param fingerprint changes when the model or how it computes changes
 * @param tokenizer makes text of prompts that are token ids, where the model has one
 */
public record ServedModel(
    Set<String> names, String fingerprint, Optional<Tokenizer> tokenizer) {
  /**
   * Copies the names.
   *
   * @throws IllegalArgumentException if there is none
   */
  public ServedModel {
    if (names.isEmpty()) {
      throw new IllegalArgumentException("names: none (expected: at least one)");
    }
    names = Collections.unmodifiableSet(new LinkedHashSet<>(names));
  }

  /**
   * The model of an engine.
   *
   * @param names what bodies may call it
   */
  public static ServedModel of(Engine engine, Collection<String> names) {
    ModelInfo info = engine.modelInfo();
    return new ServedModel(
        new LinkedHashSet<>(names),
        fingerprint(info),
        info.hasTokenizer() ? Optional.of(engine.tokenizer()) : Optional.empty());
  }

  /** Of what decides an answer: not of where the model lies or how much of it runs at once. */
  private static String fingerprint(ModelInfo info) {
    Object[] facts = {
      info.path().getFileName(),
      info.architecture(),
      info.backend(),
      info.dtype(),
      info.numerics(),
      info.numParameters(),
      info.vocabSize(),
      info.hiddenSize(),
      info.numLayers(),
      info.modelContextLength(),
      info.heads(),
      info.sampling(),
      info.eosTokenIds()
    };
    try {
      byte[] digest =
          MessageDigest.getInstance("SHA-256")
              .digest(Arrays.toString(facts).getBytes(StandardCharsets.UTF_8));
      return String.format("fp_%016x", ByteBuffer.wrap(digest).getLong());
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java has SHA-256", e);
    }
  }

  /**
   * The token ids of a completion's prompt.
   *
   * @throws OpenAiException if it is text and the model has no tokenizer
   */
  int[] promptTokens(GenerationRequest request) {
    return request
        .promptTokens()
        .orElseGet(
            () -> requireTokenizer("prompt").encode(request.prompt().orElseThrow(), true, true));
  }

  /** The tokenizer, which a field needs. */
  Tokenizer requireTokenizer(String field) {
    return tokenizer.orElseThrow(
        () ->
            new OpenAiException(
                OpenAiError.invalid(
                    field,
                    "unsupported_by_model",
                    field + ": needs text (expected: token ids and no echo; the model has no"
                        + " tokenizer)")));
  }

  /**
   * The name that an answer carries: the one that the body used.
   *
   * @throws OpenAiException with status 404 if the body names another model
   */
  public String nameFor(OpenAiRequest request) {
    if (request.model().isEmpty()) {
      return names.iterator().next();
    }
    String asked = request.model().get();
    if (!names.contains(asked)) {
      String shown = Fields.clip(asked);
      throw new OpenAiException(
          new OpenAiError(
              404,
              OpenAiError.INVALID,
              "model: \"" + shown + "\" (expected: " + String.join(" or ", names) + ")",
              "model",
              "model_not_found"));
    }
    return asked;
  }
}
