package ai.sluice.text.output;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.ReasoningFormat;
import ai.sluice.api.ResponseFormat;
import ai.sluice.api.ToolCallFormat;
import ai.sluice.text.ChatTemplate;
import ai.sluice.text.SpecialTokens;
import ai.sluice.text.TokenConstraint;
import ai.sluice.text.Tokenizer;
import ai.sluice.text.grammar.CompiledGrammar;
import ai.sluice.text.grammar.TokenTable;
import ai.sluice.text.jinja.GoldenFiles;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ReasoningConstraintTest {
  private static final OutputFormat THINK =
      new OutputFormat(ReasoningFormat.THINK, ToolCallFormat.OFF);
  private static final OutputFormat CHANNELS =
      new OutputFormat(ReasoningFormat.HARMONY, ToolCallFormat.OFF);

  private static Tokenizer tokenizer;
  private static int vocabSize;
  private static int stop;

  /** A vocabulary of bytes and a few markers. */
  @BeforeAll
  static void load() {
    StringBuilder vocabulary = new StringBuilder();
    StringBuilder added = new StringBuilder();
    List<String> markers =
        List.of(
            "<think>", "</think>", "<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<eos>");
    for (int i = 0; i < markers.size(); i++) {
      added.append(i == 0 ? "" : ",").append("{\"id\":").append(i).append(",\"content\":\"")
          .append(markers.get(i))
          .append("\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,")
          .append("\"normalized\":false,\"special\":").append(i > 1).append('}');
      vocabulary.append('"').append(markers.get(i)).append("\":").append(i).append(',');
    }
    int next = markers.size();
    vocabulary.append("\"\u010a\":").append(next++).append(",\"\u0120\":").append(next++);
    for (char c = '!'; c <= '~'; c++) {
      vocabulary.append(",\"").append(c == '"' || c == '\\' ? "\\" : "").append(c).append("\":")
          .append(next++);
    }
    String json =
        "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[" + added
            + "],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\","
            + "\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":false},"
            + "\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":"
            + "true,\"trim_offsets\":true,\"use_regex\":true},\"model\":{\"type\":\"BPE\","
            + "\"dropout\":null,\"unk_token\":null,\"continuing_subword_prefix\":null,"
            + "\"end_of_word_suffix\":null,\"fuse_unk\":false,\"byte_fallback\":false,"
            + "\"vocab\":{" + vocabulary + "},\"merges\":[]}}";
    tokenizer = Tokenizer.fromJson(json.getBytes(StandardCharsets.UTF_8));
    vocabSize = tokenizer.vocabSize() + 5; // models pad theirs
    stop = 6;
  }

  @AfterAll
  static void close() {
    tokenizer.close();
  }

  private static int[] ids(String text) {
    return text.isEmpty() ? new int[0] : tokenizer.encode(text, false, true);
  }

  private static ReasoningConstraint constraint(
      OutputFormat format, boolean inside, int budget, TokenConstraint grammar) {
    boolean channels = format == CHANNELS;
    String end = channels ? "<|end|><|start|>assistant<|channel|>final<|message|>" : "</think>\n\n";
    return new ReasoningConstraint(
        format,
        inside,
        tokenizer.continuingDecoder(format.markers()),
        new ReasoningConstraint.Tokens(
            channels ? ReasoningConstraint.NO_TOKEN : 0,
            ids(end),
            ids(channels ? "" : "\n\n"),
            new int[] {stop},
            vocabSize),
        budget,
        grammar);
  }

  private static TokenConstraint grammar(String regex) {
    return CompiledGrammar.compile(
            ResponseFormat.regex(regex), TokenTable.of(tokenizer, vocabSize))
        .start(stop);
  }

  private static BitSet allowed(TokenConstraint constraint) {
    int words = (vocabSize + 31) / 32;
    ByteBuffer buffer = ByteBuffer.allocate(8 + words * 4);
    Arrays.fill(buffer.array(), (byte) 0x55);
    constraint.allow(buffer, 8);
    assertEquals(0x55, buffer.get(7));
    return BitSet.valueOf(Arrays.copyOfRange(buffer.array(), 8, buffer.capacity()));
  }

  /**
   * Says a text as a model would that wants to, wherever it may; what is forced comes between.
   *
   * @return all that was said
   */
  private static String say(TokenConstraint constraint, String wish) {
    List<Integer> said = new ArrayList<>();
    int[] wished = ids(wish);
    for (int i = 0; i < wished.length || constraint.limitsWithin(1); ) {
      int token = i < wished.length ? wished[i] : -1;
      if (constraint.limitsWithin(1)) {
        BitSet allowed = allowed(constraint);
        assertFalse(allowed.isEmpty());
        assertTrue(allowed.length() <= vocabSize);
        if (token < 0 && (allowed.cardinality() != 1 || allowed.get(stop))) {
          break;
        }
        if (token >= 0 && allowed.get(token)) {
          i++;
        } else {
          assertEquals(1, allowed.cardinality(), said + " then " + token);
          token = allowed.nextSetBit(0);
        }
      } else {
        i++;
      }
      constraint.accept(token);
      said.add(token);
    }
    return tokenizer.decode(said.stream().mapToInt(Integer::intValue).toArray(), false);
  }

  @Test
  void reasoningEndsWhenItsBudgetIsSpent() {
    assertEquals(
        "<think>abcde</think>\n\nfghij",
        say(constraint(THINK, false, 5, null), "<think>abcdefghij"));
    assertEquals("abc</think>\n\ndef", say(constraint(THINK, true, 3, null), "abcdef"));
  }

  @Test
  void nothingMeansNothing() {
    assertEquals("<think></think>\n\nabc", say(constraint(THINK, false, 0, null), "<think>abc"));
    assertEquals("</think>\n\nabc", say(constraint(THINK, true, 0, null), "abc"));
  }

  @Test
  void whoStaysWithinTheBudgetIsLeftAlone() {
    String wish = "<think>ab</think>answer <think>not that</think>";
    ReasoningConstraint constraint = constraint(THINK, false, 3, null);
    assertEquals(wish, say(constraint, wish));
    assertFalse(constraint.limitsWithin(1000));
    ReasoningConstraint silent = constraint(THINK, false, 0, null);
    assertEquals("no reasoning", say(silent, "no reasoning"));
    assertFalse(silent.limitsWithin(1000));
    assertFalse(silent.isOver());
  }

  @Test
  void rowsArePlannedAheadUntilTheEndIsNear() {
    ReasoningConstraint constraint = constraint(THINK, true, 5, null);
    assertFalse(constraint.limitsWithin(5));
    assertTrue(constraint.limitsWithin(6));
    constraint.accept(ids("a")[0]);
    assertFalse(constraint.limitsWithin(4));
    assertTrue(constraint.limitsWithin(5));
    ReasoningConstraint outside = constraint(THINK, false, 5, null);
    assertFalse(outside.limitsWithin(6));
    assertTrue(outside.limitsWithin(7));
    assertFalse(
        constraint(THINK, true, ReasoningConstraint.UNLIMITED, null).limitsWithin(1 << 30));
  }

  /** Whatever is said: no token that may be limited was said not to be. */
  @ParameterizedTest
  @ValueSource(ints = {0, 1, 2, 3, 8})
  void whatIsSaidAboutTheNextTokensHolds(int budget) {
    for (int seed = 0; seed < 300; seed++) {
      Random random = new Random(seed);
      OutputFormat format = random.nextBoolean() ? THINK : CHANNELS;
      TokenConstraint grammar = random.nextBoolean() ? grammar("[ab]{0,9}") : null;
      ReasoningConstraint constraint =
          constraint(format, format == THINK && random.nextBoolean(), budget, grammar);
      int free = 0; // tokens that were said to be free
      StringBuilder history = new StringBuilder();
      for (int i = 0; i < 60 && !constraint.isOver(); i++) {
        boolean limited = constraint.limitsWithin(1);
        assertFalse(limited && free > 0, () -> seedOf(history, format));
        int most = 1;
        while (most < 12 && !constraint.limitsWithin(most)) {
          most++;
        }
        free = Math.max(free - 1, most - 2);
        int token = random.nextInt(6) == 0 ? random.nextInt(6) : 7 + random.nextInt(90);
        if (random.nextInt(3) == 0) {
          int[] head = ids("<|channel|>analysis<|message|>");
          token = head[i % head.length];
        }
        if (limited) {
          BitSet allowed = allowed(constraint);
          int[] choices = allowed.stream().toArray();
          token = choices[random.nextInt(choices.length)];
        }
        constraint.accept(token);
        history.append(' ').append(token);
        if (token == stop) {
          break;
        }
      }
    }
  }

  private static String seedOf(StringBuilder history, OutputFormat format) {
    return format + ":" + history;
  }

  @Test
  void aGrammarBeginsAfterTheReasoning() {
    TokenConstraint constraint =
        constraint(THINK, false, ReasoningConstraint.UNLIMITED, grammar("\\{[0-9]+\\}"));
    BitSet first = allowed(constraint);
    assertTrue(first.get(0) && first.get(ids("{")[0]) && first.cardinality() == 2);
    assertEquals("<think>free</think>\n\n{12}", say(constraint, "<think>free</think>{12}"));
    assertFalse(allowed(constraint).get(ids("x")[0]));
    assertTrue(allowed(constraint).get(stop));
  }

  @Test
  void aGrammarMayBeginAtOnce() {
    TokenConstraint constraint = constraint(THINK, false, 9, grammar("\\{[0-9]+\\}"));
    assertEquals("{7}", say(constraint, "{7}"));
  }

  @Test
  void aBudgetGoesBeforeAGrammar() {
    TokenConstraint constraint = constraint(THINK, true, 2, grammar("x+"));
    assertEquals("ab</think>\n\nxx", say(constraint, "abxx"));
  }

  @Test
  void reasoningBeforeAGrammarDoesNotEndTheGeneration() {
    TokenConstraint constraint = constraint(THINK, true, 9, grammar("x+"));
    assertTrue(constraint.limitsWithin(1));
    assertFalse(allowed(constraint).get(stop));
    assertTrue(allowed(constraint).get(1));
    assertFalse(allowed(constraint).get(vocabSize));
  }

  @Test
  void channelsEndWithTheFinalOne() {
    String head = "<|channel|>analysis<|message|>";
    assertEquals(
        head + "abc<|end|><|start|>assistant<|channel|>final<|message|>def",
        say(constraint(CHANNELS, false, 3, null), head + "abcdef"));
    String two = head + "ab<|end|><|start|>assistant" + head;
    assertEquals(
        two + "c<|end|><|start|>assistant<|channel|>final<|message|>d",
        say(constraint(CHANNELS, false, 3, null), two + "cd"));
    assertEquals(
        head + "ab<|end|><|start|>assistant<|channel|>final<|message|>xx",
        say(
            constraint(CHANNELS, false, 3, grammar("x+")),
            head + "ab<|end|><|start|>assistant<|channel|>final<|message|>xx"));
  }

  @Test
  void theEndIsWhatTheTemplatePutsThere() {
    assertEquals(new ReasoningEnd("\n</think>\n\n", "\n\n"), end("Qwen-Qwen3-0.6B"));
    assertEquals(
        new ReasoningEnd("\n</think>\n\n", "\n\n"),
        end("deepseek-ai-DeepSeek-R1-Distill-Llama-8B"));
    assertEquals(new ReasoningEnd("</seed:think>\n", "\n"), end("ByteDance-Seed-OSS"));
    assertEquals("final", end("openai-gpt-oss-120b").text().split("\\|>")[3].split("<")[0]);
  }

  private static ReasoningEnd end(String template) {
    ChatTemplate parsed = ChatTemplate.parse(GoldenFiles.text("templates/" + template + ".jinja"));
    return ReasoningEnd.of(
        OutputFormat.of(ReasoningFormat.AUTO, ToolCallFormat.OFF, parsed),
        parsed,
        SpecialTokens.NONE);
  }
}
