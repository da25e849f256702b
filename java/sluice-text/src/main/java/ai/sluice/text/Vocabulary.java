package ai.sluice.text;

import ai.sluice.api.CheckpointFormatException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.BitSet;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Tokens by id. Immutable after {@link Builder#build}; the reverse map is made when first asked.
 */
final class Vocabulary {
  /** Ten times the largest vocabulary known; a bound for what a bad file can make us allocate. */
  static final int MAX_TOKENS = 1 << 22;

  private final @Nullable String[] tokens;
  private final BitSet special;
  private final Map<String, Integer> specialIds = new LinkedHashMap<>();
  private volatile @Nullable Map<String, Integer> ids;

  private Vocabulary(@Nullable String[] tokens, BitSet special) {
    this.tokens = tokens;
    this.special = special;
    special.stream().forEach(id -> specialIds.putIfAbsent(tokens[id], id));
  }

  /** One more than the largest id. */
  int size() {
    return tokens.length;
  }

  /** The token of an id, or null where the vocabulary has a gap or ends. */
  @Nullable String token(int id) {
    return id >= 0 && id < tokens.length ? tokens[id] : null;
  }

  boolean isSpecial(int id) {
    return special.get(id);
  }

  /** Texts of all special tokens. */
  List<String> specialTexts() {
    return List.copyOf(specialIds.keySet());
  }

  /** The id of a special token, or -1. */
  int specialId(String token) {
    return specialIds.getOrDefault(token, -1);
  }

  /** The id of a token, or -1. */
  int id(String token) {
    Integer specialId = specialIds.get(token);
    if (specialId != null) {
      return specialId;
    }
    Map<String, Integer> map = ids;
    if (map == null) {
      map = new HashMap<>(tokens.length * 2);
      for (int id = 0; id < tokens.length; id++) {
        if (tokens[id] != null) {
          // Files converted with padding repeat a text; the first id is the one that encodes.
          map.putIfAbsent(tokens[id], id);
        }
      }
      ids = map;
    }
    return map.getOrDefault(token, -1);
  }

  /** Collects tokens. */
  static final class Builder {
    private final @Nullable Path file;
    private @Nullable String[] tokens = new String[1 << 15];
    private final BitSet special = new BitSet();
    private int size;

    /** Starts an empty vocabulary; {@code file} is named in failures. */
    Builder(@Nullable Path file) {
      this.file = file;
    }

    int size() {
      return size;
    }

    /** Adds a token of the model's own vocabulary. */
    void add(int id, String token) {
      put(id, token);
    }

    /** Adds a token that is matched before the model sees the text. */
    void addAdded(int id, String token, boolean isSpecial) {
      put(id, token);
      special.set(id, isSpecial);
    }

    /** Whether an id stands for a token already. */
    boolean has(int id, String token) {
      return id >= 0 && id < size && token.equals(tokens[id]);
    }

    private void put(int id, String token) {
      if (id < 0 || id >= MAX_TOKENS) {
        throw new CheckpointFormatException(
            file, "vocab", "token id " + id + " (expected: 0 to " + (MAX_TOKENS - 1) + ")");
      }
      if (id >= tokens.length) {
        tokens = Arrays.copyOf(tokens, Math.max(id + 1, tokens.length * 2));
      }
      String old = tokens[id];
      if (old != null && !old.equals(token)) {
        throw new CheckpointFormatException(
            file,
            "vocab",
            "token id "
                + id
                + " is both \""
                + old
                + "\" and \""
                + token
                + "\" (expected: one token for each id)");
      }
      tokens[id] = token;
      size = Math.max(size, id + 1);
    }

    Vocabulary build() {
      return new Vocabulary(Arrays.copyOf(tokens, size), special);
    }
  }
}
