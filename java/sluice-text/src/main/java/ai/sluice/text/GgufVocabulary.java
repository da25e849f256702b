package ai.sluice.text;

import ai.sluice.api.CheckpointFormatException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;

/**
 * The vocabulary that a GGUF file carries in its {@code tokenizer.ggml.*} metadata. Immutable and
 * thread-safe.
 */
public final class GgufVocabulary {
  /** Token types of {@code tokenizer.ggml.token_type}. */
  static final int NORMAL = 1;

  static final int UNKNOWN = 2;
  static final int CONTROL = 3;
  static final int USER_DEFINED = 4;
  static final int UNUSED = 5;
  static final int BYTE = 6;

  private final String model;
  private final @Nullable String pre;
  private final List<String> tokens;
  private final float[] scores;
  private final int[] tokenTypes;
  private final List<String> merges;
  private final int bosId;
  private final int eosId;
  private final int unkId;
  private final int padId;
  private final @Nullable Boolean addBos;
  private final @Nullable Boolean addEos;
  private final @Nullable Boolean addSpacePrefix;

  private GgufVocabulary(Builder builder) {
    model = builder.model;
    pre = builder.pre;
    tokens = List.copyOf(builder.tokens);
    scores = builder.scores.clone();
    tokenTypes = builder.tokenTypes.clone();
    merges = List.copyOf(builder.merges);
    bosId = builder.bosId;
    eosId = builder.eosId;
    unkId = builder.unkId;
    padId = builder.padId;
    addBos = builder.addBos;
    addEos = builder.addEos;
    addSpacePrefix = builder.addSpacePrefix;
    if (tokens.isEmpty()) {
      throw invalid("tokenizer.ggml.tokens", "empty (expected: a vocabulary)");
    }
    sameLength("tokenizer.ggml.scores", scores.length);
    sameLength("tokenizer.ggml.token_type", tokenTypes.length);
    inRange("tokenizer.ggml.bos_token_id", bosId);
    inRange("tokenizer.ggml.eos_token_id", eosId);
    inRange("tokenizer.ggml.unknown_token_id", unkId);
    inRange("tokenizer.ggml.padding_token_id", padId);
  }

  private void sameLength(String key, int length) {
    if (length != 0 && length != tokens.size()) {
      throw invalid(key, length + " entries (expected: " + tokens.size() + ", one a token)");
    }
  }

  private void inRange(String key, int id) {
    if (id < -1 || id >= tokens.size()) {
      throw invalid(key, id + " (expected: 0 to " + (tokens.size() - 1) + ")");
    }
  }

  private static CheckpointFormatException invalid(String key, String problem) {
    return new CheckpointFormatException(null, key, problem);
  }

  /**
   * Reads the {@code tokenizer.ggml.*} keys of a GGUF file's metadata; other keys are ignored.
   *
   * @param metadata values by key: strings, booleans, any {@link Number}, {@code float[]}, {@code
   *     int[]} or lists of these
   * @throws CheckpointFormatException if a key is missing, of another type, or contradicts another
   */
  public static GgufVocabulary fromMetadata(Map<String, ? extends @Nullable Object> metadata) {
    Builder builder =
        builder(string(metadata, "tokenizer.ggml.model"), strings(metadata, "tokens"));
    builder.pre = (String) typed(metadata, "tokenizer.ggml.pre", String.class);
    builder.merges =
        metadata.containsKey("tokenizer.ggml.merges") ? strings(metadata, "merges") : List.of();
    double[] scores = numbers(metadata, "scores");
    builder.scores = new float[scores.length];
    for (int i = 0; i < scores.length; i++) {
      builder.scores[i] = (float) scores[i];
    }
    builder.tokenTypes =
        Arrays.stream(numbers(metadata, "token_type")).mapToInt(d -> (int) d).toArray();
    builder.bosId = id(metadata, "bos");
    builder.eosId = id(metadata, "eos");
    builder.unkId = id(metadata, "unknown");
    builder.padId = id(metadata, "padding");
    builder.addBos = (Boolean) typed(metadata, "tokenizer.ggml.add_bos_token", Boolean.class);
    builder.addEos = (Boolean) typed(metadata, "tokenizer.ggml.add_eos_token", Boolean.class);
    builder.addSpacePrefix =
        (Boolean) typed(metadata, "tokenizer.ggml.add_space_prefix", Boolean.class);
    return builder.build();
  }

  private static @Nullable Object typed(Map<String, ?> metadata, String key, Class<?> type) {
    Object value = metadata.get(key);
    if (value != null && !type.isInstance(value)) {
      throw invalid(
          key, value.getClass().getSimpleName() + " (expected: " + type.getSimpleName() + ")");
    }
    return value;
  }

  private static String string(Map<String, ?> metadata, String key) {
    Object value = typed(metadata, key, String.class);
    if (value == null) {
      throw invalid(key, "missing (expected: a string)");
    }
    return (String) value;
  }

  private static List<String> strings(Map<String, ?> metadata, String name) {
    String key = "tokenizer.ggml." + name;
    if (!(metadata.get(key) instanceof List<?> list)) {
      throw invalid(key, "missing or no list (expected: a list of strings)");
    }
    List<String> strings = new ArrayList<>(list.size());
    for (Object element : list) {
      if (!(element instanceof String text)) {
        throw invalid(key, "an entry that is no string (expected: strings only)");
      }
      strings.add(text);
    }
    return strings;
  }

  private static double[] numbers(Map<String, ?> metadata, String name) {
    String key = "tokenizer.ggml." + name;
    Object value = metadata.get(key);
    if (value == null) {
      return new double[0];
    }
    if (value instanceof float[] floats) {
      double[] numbers = new double[floats.length];
      for (int i = 0; i < floats.length; i++) {
        numbers[i] = floats[i];
      }
      return numbers;
    }
    if (value instanceof int[] ints) {
      return Arrays.stream(ints).asDoubleStream().toArray();
    }
    if (value instanceof List<?> list) {
      double[] numbers = new double[list.size()];
      for (int i = 0; i < numbers.length; i++) {
        if (!(list.get(i) instanceof Number number)) {
          throw invalid(key, "an entry that is no number (expected: numbers only)");
        }
        numbers[i] = number.doubleValue();
      }
      return numbers;
    }
    throw invalid(key, value.getClass().getSimpleName() + " (expected: a list of numbers)");
  }

  private static int id(Map<String, ?> metadata, String name) {
    String key = "tokenizer.ggml." + name + "_token_id";
    Object value = typed(metadata, key, Number.class);
    if (value == null) {
      return -1;
    }
    long id = ((Number) value).longValue();
    if (id < 0 || id > Integer.MAX_VALUE) {
      throw invalid(key, id + " (expected: a token id)");
    }
    return (int) id;
  }

  /**
   * Starts a vocabulary.
   *
   * @param model {@code llama} (SentencePiece) or {@code gpt2} (byte-level BPE)
   * @param tokens the tokens by id
   */
  public static Builder builder(String model, List<String> tokens) {
    return new Builder(model, tokens);
  }

  /** The kind of vocabulary: {@code llama} or {@code gpt2}. */
  public String model() {
    return model;
  }

  /** The name of the pre-tokenizer; null where the file has none. */
  public @Nullable String pre() {
    return pre;
  }

  /** The tokens by id. */
  public List<String> tokens() {
    return tokens;
  }

  /** The id of the token that begins a document. */
  public OptionalInt bosId() {
    return optional(bosId);
  }

  /** The id of the token that ends a document or a turn. */
  public OptionalInt eosId() {
    return optional(eosId);
  }

  /** The id of the token for unknown text. */
  public OptionalInt unkId() {
    return optional(unkId);
  }

  /** The id of the padding token. */
  public OptionalInt padId() {
    return optional(padId);
  }

  private static OptionalInt optional(int id) {
    return id < 0 ? OptionalInt.empty() : OptionalInt.of(id);
  }

  float score(int id) {
    return scores.length == 0 ? 0 : scores[id];
  }

  boolean hasScores() {
    return scores.length != 0;
  }

  int type(int id) {
    return tokenTypes.length == 0 ? NORMAL : tokenTypes[id];
  }

  List<String> merges() {
    return merges;
  }

  @Nullable Boolean addBos() {
    return addBos;
  }

  @Nullable Boolean addEos() {
    return addEos;
  }

  @Nullable Boolean addSpacePrefix() {
    return addSpacePrefix;
  }

  /** Collects the parts of a vocabulary. Not thread-safe. */
  public static final class Builder {
    private final String model;
    private final List<String> tokens;
    private @Nullable String pre;
    private float[] scores = {};
    private int[] tokenTypes = {};
    private List<String> merges = List.of();
    private int bosId = -1;
    private int eosId = -1;
    private int unkId = -1;
    private int padId = -1;
    private @Nullable Boolean addBos;
    private @Nullable Boolean addEos;
    private @Nullable Boolean addSpacePrefix;

    private Builder(String model, List<String> tokens) {
      this.model = model;
      this.tokens = tokens;
    }

    /** Sets the name of the pre-tokenizer, {@code tokenizer.ggml.pre}. */
    public Builder pre(@Nullable String value) {
      pre = value;
      return this;
    }

    /** Sets the scores by token id; higher merges first. */
    public Builder scores(float[] value) {
      scores = value.clone();
      return this;
    }

    /**
     * Sets the types by token id: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
     */
    public Builder tokenTypes(int[] value) {
      tokenTypes = value.clone();
      return this;
    }

    /** Sets the merges in order, each two tokens with a space between. */
    public Builder merges(List<String> value) {
      merges = value;
      return this;
    }

    /** Sets the id of the token that begins a document, -1 for none. */
    public Builder bosId(int value) {
      bosId = value;
      return this;
    }

    /** Sets the id of the token that ends a document, -1 for none. */
    public Builder eosId(int value) {
      eosId = value;
      return this;
    }

    /** Sets the id of the token for unknown text, -1 for none. */
    public Builder unkId(int value) {
      unkId = value;
      return this;
    }

    /** Sets the id of the padding token, -1 for none. */
    public Builder padId(int value) {
      padId = value;
      return this;
    }

    /** Sets whether encoding begins with the bos token; null for the default of the kind. */
    public Builder addBos(@Nullable Boolean value) {
      addBos = value;
      return this;
    }

    /** Sets whether encoding ends with the eos token; null for no. */
    public Builder addEos(@Nullable Boolean value) {
      addEos = value;
      return this;
    }

    /** Sets whether {@code llama} text gets a space in front; null for yes. */
    public Builder addSpacePrefix(@Nullable Boolean value) {
      addSpacePrefix = value;
      return this;
    }

    /**
     * Builds the vocabulary.
     *
     * @throws CheckpointFormatException if the parts contradict each other
     */
    public GgufVocabulary build() {
      return new GgufVocabulary(this);
    }
  }
}
