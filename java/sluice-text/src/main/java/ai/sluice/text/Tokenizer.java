package ai.sluice.text;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.SluiceException;
import ai.sluice.text.SpecialTokens.Token;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.BitSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Turns text into token ids and back. Made from a Hugging Face {@code tokenizer.json} or from the
 * vocabulary of a GGUF file; nothing is downloaded, no other process or host is asked.
 *
 * <p>Text is never truncated and never padded, whatever the file says.
 *
 * <p>Thread-safe. Owns native memory until {@link #close}, which waits for calls in flight and may
 * be repeated; calls that need the native side after it throw {@link
 * ai.sluice.api.EngineClosedException}. Decoding and look-ups work on after it.
 */
public final class Tokenizer implements AutoCloseable {
  private static final BitSet NO_TOKENS = new BitSet(0);

  private final TokenizerJson json;
  private final NativeTokenizer main;
  private final Vocabulary vocabulary;
  private final TokenDecoder decoder;
  private final SpecialTokens specialTokens;
  private final DocumentEnds ends;
  private final TextMatcher specialTexts;
  private final Object plainLock = new Object();
  private @Nullable NativeTokenizer plain;
  private boolean closed;

  private Tokenizer(
      TokenizerJson json,
      NativeTokenizer main,
      Vocabulary vocabulary,
      SpecialTokens specialTokens,
      DocumentEnds ends) {
    this.json = json;
    this.main = main;
    this.vocabulary = vocabulary;
    this.decoder = json.decoder();
    this.specialTokens = specialTokens;
    this.ends = ends;
    this.specialTexts = new TextMatcher(vocabulary.specialTexts());
  }

  /**
   * Loads a tokenizer.json. A {@code tokenizer_config.json} beside it, if there is one, names the
   * special tokens and says whether encoding adds them.
   *
   * @param tokenizerJson the file
   * @throws CheckpointFormatException if a file is missing or malformed
   * @throws ai.sluice.api.UnsupportedModelException if the tokenizer is of a kind that cannot be
   *     decoded
   * @throws ai.sluice.api.NativeLoadException if the native library cannot be loaded
   */
  public static Tokenizer fromFile(Path tokenizerJson) {
    Path configFile = tokenizerJson.resolveSibling("tokenizer_config.json");
    TokenizerConfig config =
        Files.isRegularFile(configFile)
            ? TokenizerConfig.parse(read(configFile), configFile)
            : TokenizerConfig.EMPTY;
    return fromJson(read(tokenizerJson), config, tokenizerJson);
  }

  /**
   * Loads a tokenizer from memory, without named special tokens.
   *
   * @param tokenizerJson the UTF-8 bytes of a tokenizer.json; not copied, not to be changed
   * @throws CheckpointFormatException if it is malformed
   * @throws ai.sluice.api.UnsupportedModelException if it is of a kind that cannot be decoded
   * @throws ai.sluice.api.NativeLoadException if the native library cannot be loaded
   */
  public static Tokenizer fromJson(byte[] tokenizerJson) {
    return fromJson(tokenizerJson, TokenizerConfig.EMPTY, null);
  }

  /**
   * Loads a tokenizer from memory.
   *
   * @param tokenizerJson the UTF-8 bytes of a tokenizer.json; not copied, not to be changed
   * @param tokenizerConfigJson the UTF-8 bytes of a tokenizer_config.json
   * @throws CheckpointFormatException if either is malformed
   * @throws ai.sluice.api.UnsupportedModelException if it is of a kind that cannot be decoded
   * @throws ai.sluice.api.NativeLoadException if the native library cannot be loaded
   */
  public static Tokenizer fromJson(byte[] tokenizerJson, byte[] tokenizerConfigJson) {
    return fromJson(tokenizerJson, TokenizerConfig.parse(tokenizerConfigJson, null), null);
  }

  private static Tokenizer fromJson(byte[] bytes, TokenizerConfig config, @Nullable Path file) {
    // The library is checked and loaded while the JSON for it is read.
    NativeTokenizers.preload();
    TokenizerJson json = new TokenizerJson(bytes, file);
    Vocabulary vocabulary = json.vocabulary();
    SpecialTokens special =
        SpecialTokens.of(
            token(vocabulary, "bos_token", config.bosToken(), file),
            token(vocabulary, "eos_token", config.eosToken(), file),
            token(vocabulary, "unk_token", config.unkToken(), file),
            token(vocabulary, "pad_token", config.padToken(), file));
    DocumentEnds ends =
        config.addBosToken() == null && config.addEosToken() == null
            ? json.ends()
            : ends(
                special,
                Boolean.TRUE.equals(config.addBosToken()),
                Boolean.TRUE.equals(config.addEosToken()),
                file);
    return new Tokenizer(json, createNative(json, true, file), vocabulary, special, ends);
  }

  /**
   * Builds a tokenizer from the vocabulary of a GGUF file.
   *
   * @param source the vocabulary
   * @throws CheckpointFormatException if its parts contradict each other
   * @throws ai.sluice.api.UnsupportedModelException if its kind or its pre-tokenizer is not known,
   *     naming those that are
   * @throws ai.sluice.api.NativeLoadException if the native library cannot be loaded
   */
  public static Tokenizer fromGguf(GgufVocabulary source) {
    NativeTokenizers.preload();
    TokenizerJson json = new TokenizerJson(GgufTokenizerJson.write(source), null);
    // Its own list of tokens, since texts that occur twice have one place only in the JSON.
    Vocabulary vocabulary = GgufTokenizerJson.vocabulary(source);
    SpecialTokens special =
        SpecialTokens.of(
            token(vocabulary, source.bosId()),
            token(vocabulary, source.eosId()),
            token(vocabulary, source.unkId()),
            token(vocabulary, source.padId()));
    // Files of the first converters say nothing and mean yes, in these families.
    boolean addBos =
        source.addBos() == null
            ? special.bos().isPresent()
                && (source.model().equals("llama")
                    || GgufPreTokenizer.named(source.pre()).beginsWithBos())
            : source.addBos();
    DocumentEnds ends = ends(special, addBos, Boolean.TRUE.equals(source.addEos()), null);
    return new Tokenizer(json, createNative(json, true, null), vocabulary, special, ends);
  }

  private static NativeTokenizer createNative(
      TokenizerJson json, boolean parseSpecialTokens, @Nullable Path file) {
    String text = json.nativeJson(parseSpecialTokens);
    try {
      return NativeTokenizer.create(text);
    } catch (SluiceException e) {
      throw e;
    } catch (RuntimeException e) {
      throw new CheckpointFormatException(
          file,
          null,
          e.getMessage()
              + " (expected: a tokenizer.json that Hugging Face's tokenizers 0.21 reads)",
          e);
    }
  }

  private static byte[] read(Path file) {
    try {
      return Files.readAllBytes(file);
    } catch (IOException e) {
      throw new CheckpointFormatException(
          file,
          null,
          "cannot be read: "
              + e
              + " (expected: a tokenizer of the model; remedy: fetch the whole model folder)",
          e);
    }
  }

  private static @Nullable Token token(
      Vocabulary vocabulary, String key, @Nullable String text, @Nullable Path file) {
    if (text == null) {
      return null;
    }
    int id = vocabulary.id(text);
    if (id < 0) {
      throw new CheckpointFormatException(
          file, key, "\"" + text + "\" (expected: a token of the vocabulary)");
    }
    return new Token(id, text);
  }

  private static @Nullable Token token(Vocabulary vocabulary, OptionalInt id) {
    return id.isEmpty() ? null : new Token(id.getAsInt(), vocabulary.token(id.getAsInt()));
  }

  private static DocumentEnds ends(
      SpecialTokens special, boolean addBos, boolean addEos, @Nullable Path file) {
    return new DocumentEnds(
        addBos ? List.of(end("bos", special.bos(), file)) : List.of(),
        addEos ? List.of(end("eos", special.eos(), file)) : List.of());
  }

  private static int end(String name, Optional<Token> token, @Nullable Path file) {
    return token
        .orElseThrow(
            () ->
                new CheckpointFormatException(
                    file,
                    "add_" + name + "_token",
                    "true (expected: false, since no " + name + " token is named)"))
        .id();
  }

  /**
   * Token ids of a text.
   *
   * @param text the text, of any length
   * @param addSpecialTokens whether to add the tokens that begin or end a document, as the model
   *     was trained with them; false for text that a chat template rendered
   * @param parseSpecialTokens whether the texts of special tokens in {@code text} become those
   *     tokens; false for text of which nobody vouches. The first such text with {@code false}
   *     builds a second native tokenizer, which takes the time of the first
   * @return the ids, in order
   * @throws InvalidRequestException if the text has a lone surrogate
   * @throws ai.sluice.api.EngineClosedException after {@link #close}
   */
  public int[] encode(String text, boolean addSpecialTokens, boolean parseSpecialTokens) {
    requireWellFormed(text);
    NativeTokenizer tokenizer = parseSpecialTokens || !specialTexts.foundIn(text) ? main : plain();
    int[] ids = tokenizer.encode(text);
    return addSpecialTokens ? ends.around(ids) : ids;
  }

  /**
   * Breaks the texts of special tokens in a text, so that a template may put it beside special
   * tokens that are meant: {@link #encodeParts} puts the parts together as plain text.
   *
   * @param mark a character that occurs nowhere else
   * @return the text itself if it has none
   */
  public String breakSpecialTexts(String text, char mark) {
    return specialTexts.foundIn(text) ? specialTexts.breakWith(text, mark) : text;
  }

  /**
   * Token ids of a text in which some texts of special tokens are broken; the others become those
   * tokens. Nothing is added.
   *
   * @param mark as given to {@link #breakSpecialTexts}; has no tokens
   * @throws InvalidRequestException if the text has a lone surrogate
   * @throws ai.sluice.api.EngineClosedException after {@link #close}
   */
  public int[] encodeParts(String text, char mark) {
    IntStream.Builder ids = IntStream.builder();
    int begin = 0;
    while (begin <= text.length()) {
      int end = text.indexOf(mark, begin);
      end = end < 0 ? text.length() : end;
      if (end > begin) {
        for (int id : encode(text.substring(begin, end), false, true)) {
          ids.add(id);
        }
      }
      begin = end + 1;
    }
    return ids.build().toArray();
  }

  private NativeTokenizer plain() {
    synchronized (plainLock) {
      if (plain == null) {
        if (closed) {
          return main;
        }
        plain = createNative(json, false, null);
      }
      return plain;
    }
  }

  private static void requireWellFormed(String text) {
    for (int i = 0; i < text.length(); i++) {
      if (Character.isSurrogate(text.charAt(i))) {
        if (Character.isHighSurrogate(text.charAt(i))
            && i + 1 < text.length()
            && Character.isLowSurrogate(text.charAt(i + 1))) {
          i++;
        } else {
          throw new InvalidRequestException(
              String.format(
                  "text: lone surrogate U+%04X at index %d (expected: well-formed" + " UTF-16)",
                  (int) text.charAt(i), i));
        }
      }
    }
  }

  /**
   * The text of a document. Bytes that are no UTF-8 become U+FFFD, one for each maximal part of a
   * character; ids that the vocabulary does not know have no text.
   *
   * @param ids the ids of the whole document
   * @param skipSpecialTokens whether to leave special tokens out
   */
  public String decode(int[] ids, boolean skipSpecialTokens) {
    StreamingDecoder stream = streamingDecoder(skipSpecialTokens);
    for (int id : ids) {
      stream.feed(id);
    }
    return stream.finish();
  }

  /** The text of a document without its special tokens; see {@link #decode(int[], boolean)}. */
  public String decode(int... ids) {
    return decode(ids, true);
  }

  /**
   * Starts decoding a document token by token.
   *
   * @param skipSpecialTokens whether to leave special tokens out
   */
  public StreamingDecoder streamingDecoder(boolean skipSpecialTokens) {
    return new StreamingDecoder(vocabulary, decoder, skipSpecialTokens, NO_TOKENS, false);
  }

  /**
   * Starts decoding tokens that continue a text: SentencePiece vocabularies keep the space in front
   * of the first word, which {@link #streamingDecoder} drops at the start of a document.
   *
   * @param skipSpecialTokens whether to leave special tokens out
   */
  public StreamingDecoder continuingDecoder(boolean skipSpecialTokens) {
    return new StreamingDecoder(vocabulary, decoder, skipSpecialTokens, NO_TOKENS, true);
  }

  /**
   * Starts decoding tokens that continue a text, without special tokens but those of certain texts.
   *
   * @param keptSpecialTokens texts of special tokens that are left in; others are ignored
   */
  public StreamingDecoder continuingDecoder(Set<String> keptSpecialTokens) {
    BitSet kept = new BitSet();
    for (String text : keptSpecialTokens) {
      int id = vocabulary.specialId(text);
      if (id >= 0) {
        kept.set(id);
      }
    }
    return new StreamingDecoder(vocabulary, decoder, true, kept, true);
  }

  /** The id of a token, by its text in the vocabulary. */
  public OptionalInt tokenToId(String token) {
    int id = vocabulary.id(token);
    return id < 0 ? OptionalInt.empty() : OptionalInt.of(id);
  }

  /** The text of a token in the vocabulary; absent for an id that it does not know. */
  public Optional<String> idToToken(int id) {
    return Optional.ofNullable(vocabulary.token(id));
  }

  /**
   * The bytes that a token adds to a text in progress, as {@link #continuingDecoder} reads them:
   * UTF-8, possibly a part of a character. Empty for special tokens and for ids that the vocabulary
   * does not know.
   */
  public byte[] bytesOf(int id) {
    String token = vocabulary.token(id);
    return token == null || vocabulary.isSpecial(id) ? new byte[0] : decoder.bytes(token);
  }

  /** One more than the largest token id. A model's own vocabulary may be larger (padding). */
  public int vocabSize() {
    return vocabulary.size();
  }

  /** The tokens with a fixed meaning. */
  public SpecialTokens specialTokens() {
    return specialTokens;
  }

  /** Whether a token is special: control, not text. */
  public boolean isSpecial(int id) {
    return id >= 0 && vocabulary.isSpecial(id);
  }

  @Override
  public void close() {
    synchronized (plainLock) {
      closed = true;
      if (plain != null) {
        plain.close();
      }
    }
    main.close();
  }
}
