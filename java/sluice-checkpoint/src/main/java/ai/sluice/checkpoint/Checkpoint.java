package ai.sluice.checkpoint;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.Sampling;
import ai.sluice.api.UnsupportedModelException;
import ai.sluice.checkpoint.arch.Architectures;
import ai.sluice.proto.ModelSpec;
import ai.sluice.proto.Slot;
import ai.sluice.proto.WeightTransfer;
import ai.sluice.proto.WeightTransferList;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * An opened checkpoint: the model that it describes, where each weight lies, and what its files say
 * about tokens, chat and sampling. Everything has been checked; no weight has been read. Immutable,
 * and safe to share between threads. No file stays open.
 */
@SuppressWarnings("exports") // ModelSpec and its like are for the other modules of Sluice only.
public final class Checkpoint {
  private static final String GGUF_SUFFIX = ".gguf";
  private static final int FILES_IN_MESSAGE = 5;

  private final CheckpointParts parts;
  private final List<Integer> eosTokenIds;
  private final Optional<Integer> bosTokenId;
  private final List<String> notes;
  private final CheckpointSummary summary;
  private final DType storedDType;

  private Checkpoint(CheckpointParts parts) {
    this.parts = parts;
    int vocabSize = parts.plan().spec().getVocabSize();
    List<String> allNotes = new ArrayList<>(parts.notes());
    this.eosTokenIds = parts.eosTokenIds().stream().filter(id -> id < vocabSize).toList();
    this.bosTokenId = parts.bosTokenIds().stream().filter(id -> id < vocabSize).findFirst();
    if (eosTokenIds.size() < parts.eosTokenIds().size()) {
      allNotes.add(
          "eos_token_id: "
              + parts.eosTokenIds()
              + ": ids from vocab_size, "
              + vocabSize
              + ", on are left out");
    }
    this.notes = List.copyOf(allNotes);
    this.summary = summarize(parts);
    this.storedDType =
        summary.bytesByDType().entrySet().stream()
            .max(Map.Entry.comparingByValue())
            .orElseThrow()
            .getKey();
  }

  /**
   * Opens a checkpoint.
   *
   * @param path a folder with config.json and safetensors files, a GGUF file, or a folder that
   *     holds one GGUF file
   * @throws CheckpointFormatException if a file is missing, damaged or contradicts another; the
   *     message names the file, the tensor or key, what was expected and what was found
   * @throws UnsupportedModelException if the architecture, a setting or a number format is not
   *     supported; the message names it and what is supported
   */
  public static Checkpoint open(Path path) {
    if (!Files.exists(path)) {
      throw new CheckpointFormatException(
          path,
          null,
          "no such file or folder (expected: a GGUF file, or a folder with config.json"
              + " and safetensors files)");
    }
    if (!Files.isDirectory(path)) {
      return new Checkpoint(readFile(path));
    }
    List<Path> ggufFiles = ggufFiles(path);
    boolean hasConfig = Files.exists(path.resolve(HuggingFaceFolder.CONFIG));
    // Folders of GGUF files often keep the original's config.json beside them.
    if (hasConfig && (ggufFiles.isEmpty() || ShardIndex.isIn(path))) {
      return new Checkpoint(HuggingFaceFolder.read(path));
    }
    if (ggufFiles.size() == 1) {
      return new Checkpoint(GgufCheckpoint.read(ggufFiles.get(0)));
    }
    if (ggufFiles.isEmpty() && ShardIndex.isIn(path)) {
      throw new CheckpointFormatException(
          path.resolve(HuggingFaceFolder.CONFIG),
          null,
          "no such file (expected: the model's" + " settings, beside its weights)");
    }
    throw new CheckpointFormatException(
        path,
        null,
        ggufFiles.isEmpty()
            ? "holds neither " + HuggingFaceFolder.CONFIG + " nor a GGUF file (expected: one)"
            : "holds "
                + ggufFiles.size()
                + " GGUF files, among them "
                + names(ggufFiles)
                + " (expected: one; name the file instead of the folder)");
  }

  /**
   * A model with random weights, for measuring: no weight is read, and there is no tokenizer. The
   * same numbers each time, on every backend.
   *
   * @param shape a name of {@link ModelShape#labels}, or a folder with config.json
   * @throws ai.sluice.api.InvalidRequestException if it is neither
   * @throws CheckpointFormatException if config.json is damaged
   * @throws UnsupportedModelException if it names what is not supported
   */
  public static Checkpoint random(String shape) {
    return new Checkpoint(RandomCheckpoint.read(shape));
  }

  /** Architectures that config.json files may name. */
  public static List<String> supportedArchitectures() {
    return Architectures.supported();
  }

  /** Architectures that GGUF files may name. */
  public static List<String> supportedGgufArchitectures() {
    return Architectures.supportedGguf();
  }

  private static CheckpointParts readFile(Path path) {
    String name = String.valueOf(path.getFileName());
    if (name.endsWith(".safetensors") || name.endsWith(".json")) {
      throw new CheckpointFormatException(
          path,
          null,
          "is one file of a checkpoint (expected: its folder, "
              + path.toAbsolutePath().getParent()
              + ")");
    }
    return GgufCheckpoint.read(path);
  }

  private static List<Path> ggufFiles(Path folder) {
    try (Stream<Path> entries = Files.list(folder)) {
      return entries.filter(p -> p.toString().endsWith(GGUF_SUFFIX)).sorted().toList();
    } catch (IOException e) {
      throw new CheckpointFormatException(folder, null, "cannot be listed: " + e.getMessage(), e);
    }
  }

  private static String names(List<Path> files) {
    return files.stream()
        .limit(FILES_IN_MESSAGE)
        .map(p -> String.valueOf(p.getFileName()))
        .collect(Collectors.joining(", "));
  }

  private static CheckpointSummary summarize(CheckpointParts parts) {
    Map<String, TensorInfo> byName = new HashMap<>();
    EnumMap<DType, Long> elements = new EnumMap<>(DType.class);
    EnumMap<DType, Long> bytes = new EnumMap<>(DType.class);
    for (TensorInfo tensor : parts.bound().tensors()) {
      byName.put(tensor.name(), tensor);
      bytes.merge(stored(tensor.dtype()), tensor.byteLength(), Long::sum);
    }
    long embedding = 0;
    for (WeightTransfer transfer : parts.bound().weights().getTransfersList()) {
      // Some transfers take a part of a tensor only, or unpack it.
      long values = transfer.getSource().getShapeList().stream().reduce(1L, (a, b) -> a * b);
      elements.merge(stored(byName.get(transfer.getName()).dtype()), values, Long::sum);
      if (transfer.getDestination().getSlot() == Slot.EMBED_TOKENS) {
        embedding += values;
      }
    }
    return new CheckpointSummary(
        parts.bound().tensors().size(),
        parts.bound().weights().getFilesCount(),
        elements.values().stream().mapToLong(Long::longValue).sum(),
        embedding,
        elements,
        bytes,
        bytes.values().stream().mapToLong(Long::longValue).sum());
  }

  /** Bytes that a model uses are MXFP4 values or their scales. */
  private static DType stored(DType dtype) {
    return dtype == DType.U8 || dtype == DType.F8_E8M0 ? DType.MXFP4 : dtype;
  }

  /** The folder or file that was opened; for a folder with one GGUF file, that file. */
  public Path path() {
    return parts.path();
  }

  /** The checkpoint's layout. */
  public CheckpointFormat format() {
    return parts.format();
  }

  /** The model's name, if the checkpoint has one. */
  public Optional<String> name() {
    return parts.name();
  }

  /** The model family, for example {@code llama}. */
  public String architecture() {
    return modelSpec().getArchitecture();
  }

  /**
   * The model, for the engine. Where {@link #dynamicRope} is present, whoever creates the engine
   * sets num_dynamic_variants of that RoPE to the sequences that may need one at once.
   */
  public ModelSpec modelSpec() {
    return parts.plan().spec();
  }

  /** Every weight that the model needs, ready to be enqueued. */
  public WeightTransferList weights() {
    return parts.bound().weights();
  }

  /** How RoPE depends on a prompt's length, if it does. */
  public Optional<DynamicRope> dynamicRope() {
    return parts.plan().dynamicRope();
  }

  /** Positions that the model was made for, RoPE scaling included. */
  public int maxPositions() {
    return modelSpec().getMaxContextLen();
  }

  /** The dtype that most of the weights' bytes are stored in. */
  public DType storedDType() {
    return storedDType;
  }

  /** What the checkpoint holds, in numbers. */
  public CheckpointSummary summary() {
    return summary;
  }

  /** All tensors by Hugging Face names, also those that the model does not use. */
  public TensorDirectory tensors() {
    return parts.tensors();
  }

  /** Tokens that end a generation; empty if the files name none. */
  public List<Integer> eosTokenIds() {
    return eosTokenIds;
  }

  /** The token in front of a text, if the files name one. */
  public Optional<Integer> bosTokenId() {
    return bosTokenId;
  }

  /** Sampling values that the checkpoint sets; what it does not set is unset. */
  public Sampling sampling() {
    return parts.sampling();
  }

  /** The file that {@link #sampling} comes from, if there is one. */
  public Optional<String> samplingSource() {
    return parts.samplingSource();
  }

  /** Where the tokenizer is, if the checkpoint has one that can be read. */
  public Optional<TokenizerSource> tokenizer() {
    return parts.tokenizer();
  }

  /**
   * Where the tokenizer is.
   *
   * @throws CheckpointFormatException if the checkpoint has none that can be read
   */
  public TokenizerSource requireTokenizer() {
    return tokenizer().orElseThrow(this::noTokenizer);
  }

  private CheckpointFormatException noTokenizer() {
    if (format() == CheckpointFormat.GGUF) {
      return new CheckpointFormatException(
          path(),
          "tokenizer.ggml.tokens",
          "missing (expected: a vocabulary, for requests in text;"
              + " requests in token ids work)");
    }
    if (format() == CheckpointFormat.RANDOM) {
      return new CheckpointFormatException(
          path(), null, "random weights have no tokenizer (expected: requests in token ids)");
    }
    boolean sentencePiece = Files.exists(path().resolve("tokenizer.model"));
    return new CheckpointFormatException(
        path().resolve("tokenizer.json"),
        null,
        "no such file"
            + (sentencePiece
                ? "; tokenizer.model alone is not read: save it as tokenizer.json"
                : "")
            + " (expected: a tokenizer, for requests in text; requests in token ids work)");
  }

  /** Text of the token in front, if the files name one. */
  public Optional<String> bosToken() {
    return parts.bosToken();
  }

  /** Text of the token after, if the files name one. */
  public Optional<String> eosToken() {
    return parts.eosToken();
  }

  /** The Jinja template that turns chat messages into a prompt, if there is one. */
  public Optional<String> chatTemplate() {
    @Nullable String template = parts.chatTemplates().get(TokenizerSettings.DEFAULT_TEMPLATE);
    return Optional.ofNullable(template);
  }

  /** All chat templates by name; the usual one is "default". Unmodifiable. */
  public Map<String, String> chatTemplates() {
    return parts.chatTemplates();
  }

  /** What a user may want to know: settings that were passed over or have no effect. */
  public List<String> notes() {
    return notes;
  }
}
