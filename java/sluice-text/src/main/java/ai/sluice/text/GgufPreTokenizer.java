package ai.sluice.text;

import ai.sluice.api.UnsupportedModelException;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/**
 * The pre-tokenizers that {@code tokenizer.ggml.pre} names, as the tokenizer.json of the models
 * themselves describe them. A name is listed only where that description is known for certain: a
 * wrong split gives wrong tokens without any error.
 */
enum GgufPreTokenizer {
  /** GPT-2's own pattern, built into the byte-level step. */
  GPT2(List.of("gpt-2", "phi-2"), false, false, byteLevel()),
  GPT_NEOX(List.of("olmo", "mpt"), false, true, byteLevel()),
  /** What a file means that was converted without knowing its model. */
  DEFAULT(
      List.of("default"),
      false,
      false,
      split("[\\p{P}\\$\\+<=>\\^~\\|]+"),
      split(Patterns.GPT2),
      split("\\p{N}+"),
      split("[0-9][0-9][0-9]"),
      bytesOnly()),
  LLAMA3(
      List.of("llama-bpe", "llama3", "llama-v3", "falcon3", "smaug-bpe"),
      true,
      false,
      split(Patterns.llama3("\\p{N}{1,3}")),
      bytesOnly()),
  DBRX(List.of("dbrx"), true, false, split(Patterns.llama3("\\p{N}{1,3}")), bytesOnly()),
  QWEN2(
      List.of("qwen2", "deepseek-r1-qwen"),
      false,
      true,
      split(Patterns.llama3("\\p{N}")),
      bytesOnly()),
  STABLELM2(List.of("stablelm2"), false, false, split(Patterns.llama3("\\p{N}")), bytesOnly()),
  /** Every digit alone, then GPT-2's pattern. */
  DIGITS(List.of("smollm", "starcoder", "refact"), false, false, digits(true), byteLevel()),
  COMMAND_R(List.of("command-r"), false, true, digits(true), byteLevel()),
  DEEPSEEK_LLM(
      List.of("deepseek-llm"),
      false,
      false,
      split("[\r\n]"),
      split("\\s?[" + Patterns.CASED_LETTERS + "]+"),
      split("\\s?[!-/:-~！-／：-～‘-‟　-。]+"),
      split("\\s+$"),
      split("[一-龥ࠀ-一가-퟿]+"),
      digits(true),
      bytesOnly()),
  DEEPSEEK_CODER(
      List.of("deepseek-coder"),
      false,
      false,
      split("[\r\n]"),
      split("\\s?\\p{L}+"),
      split("\\s?\\p{P}+"),
      split("[一-龥ࠀ-一가-퟿]+"),
      digits(true),
      bytesOnly()),
  DEEPSEEK_V3(
      List.of("deepseek-v3"),
      false,
      false,
      split("\\p{N}{1,3}"),
      split("[一-龥\u3040-ゟ゠-ヿ]+"),
      split(
          "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"
              + "|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*"
              + "|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"),
      bytesOnly()),
  /** Mistral's Tekken. */
  TEKKEN(List.of("tekken"), true, false, split(Patterns.cased("", "\\p{N}")), bytesOnly()),
  GPT4O(
      List.of("gpt-4o", "llama4"),
      true,
      false,
      split(Patterns.cased(Patterns.CONTRACTION + "?", "\\p{N}{1,3}")),
      bytesOnly()),
  FALCON(
      List.of("falcon"),
      false,
      false,
      object("Punctuation").put("behavior", "Contiguous"),
      byteLevel(),
      digits(false),
      split("[0-9][0-9][0-9]"));

  private final List<String> names;
  private final boolean ignoreMerges;
  private final boolean nfc;
  private final List<ObjectNode> steps;

  GgufPreTokenizer(List<String> names, boolean ignoreMerges, boolean nfc, ObjectNode... steps) {
    this.names = names;
    this.ignoreMerges = ignoreMerges;
    this.nfc = nfc;
    this.steps = List.of(steps);
  }

  /**
   * The pre-tokenizer of a name.
   *
   * @throws UnsupportedModelException for a name that is not listed, or none
   */
  static GgufPreTokenizer named(@Nullable String name) {
    List<String> known = new ArrayList<>();
    for (GgufPreTokenizer pre : values()) {
      if (name != null && pre.names.contains(name)) {
        return pre;
      }
      known.addAll(pre.names);
    }
    throw new UnsupportedModelException(
        "tokenizer.ggml.pre: "
            + (name == null ? "missing" : name)
            + " (expected: "
            + String.join(", ", new TreeSet<>(known))
            + "; remedy: use the model's Hugging Face folder with its tokenizer.json)");
  }

  /** Whether a word that is a token is taken whole, before any merge. */
  boolean ignoreMerges() {
    return ignoreMerges;
  }

  /** Whether text is brought into Unicode's composed form first. */
  boolean nfc() {
    return nfc;
  }

  /** Whether documents begin with the bos token where a file does not say. */
  boolean beginsWithBos() {
    return this == LLAMA3 || this == TEKKEN;
  }

  /** The {@code pre_tokenizer} of a tokenizer.json. */
  ObjectNode json() {
    ObjectNode sequence = object("Sequence");
    ArrayNode list = sequence.putArray("pretokenizers");
    steps.forEach(step -> list.add(step.deepCopy()));
    return sequence;
  }

  private static ObjectNode object(String type) {
    return Json.MAPPER.createObjectNode().put("type", type);
  }

  private static ObjectNode split(String regex) {
    ObjectNode node = object("Split");
    node.putObject("pattern").put("Regex", regex);
    return node.put("behavior", "Isolated").put("invert", false);
  }

  private static ObjectNode digits(boolean individual) {
    return object("Digits").put("individual_digits", individual);
  }

  private static ObjectNode byteLevel(boolean useRegex) {
    return object("ByteLevel")
        .put("add_prefix_space", false)
        .put("trim_offsets", true)
        .put("use_regex", useRegex);
  }

  private static ObjectNode byteLevel() {
    return byteLevel(true);
  }

  private static ObjectNode bytesOnly() {
    return byteLevel(false);
  }

  /** Patterns that several models share. */
  private static final class Patterns {
    static final String CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
    static final String GPT2 =
        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

    /** Letters with case and their kin, as DeepSeek-LLM lists them. */
    static final String CASED_LETTERS =
        "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿ"
            + "ᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨ"
            + "K-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲"
            + "𐳀-𐳲𑢠-𑣟𞤀-𞥃";

    private static final String UPPER = "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]";
    private static final String LOWER = "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]";
    private static final String LEAD = "[^\\r\\n\\p{L}\\p{N}]?";
    private static final String SPACES = "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

    private Patterns() {}

    /** The family of patterns that Llama 3 and Qwen share, apart from how digits group. */
    static String llama3(String number) {
      return CONTRACTION
          + "|"
          + LEAD
          + "\\p{L}+|"
          + number
          + "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
          + SPACES;
    }

    /** The family of patterns that split words where case changes. */
    static String cased(String suffix, String number) {
      return LEAD
          + UPPER
          + "*"
          + LOWER
          + "+"
          + suffix
          + "|"
          + LEAD
          + UPPER
          + "+"
          + LOWER
          + "*"
          + suffix
          + "|"
          + number
          + "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|"
          + SPACES;
    }
  }
}
