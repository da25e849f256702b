package ai.sluice.text.grammar;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ResponseFormat;
import ai.sluice.text.TokenConstraint;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;

/** Use of a grammar: ends, stop tokens, vocabularies with gaps, small caches, many threads. */
class CompiledGrammarTest {
  private static final GrammarLimits SMALL =
      new GrammarLimits(32, 5000, 5000, 120_000, 60_000, Duration.ofSeconds(9), 1 << 20);

  private static CompiledGrammar regex(String expression, TokenTable tokens) {
    return CompiledGrammar.compile(ResponseFormat.regex(expression), tokens);
  }

  private static boolean allows(TokenConstraint constraint, TokenTable tokens, int token) {
    ByteBuffer words = ByteBuffer.allocate((tokens.vocabSize() + 31) / 32 * 4);
    constraint.allow(words, 0);
    return (words.get(token / 8) >> token % 8 & 1) != 0;
  }

  @Test
  void withoutStopTokensTheTextEndsWhereNothingCanFollow() {
    TokenTable tokens = Vocabularies.BYTES.table();
    TokenConstraint constraint = regex("ab|abc", tokens).start();
    assertTrue(constraint.limitsWithin(1) && constraint.limitsWithin(100));
    constraint.accept('a');
    assertFalse(constraint.isOver());
    constraint.accept('b');
    // Complete, but c may follow.
    assertFalse(constraint.isOver());
    assertTrue(allows(constraint, tokens, 'c'));
    constraint.accept('c');
    assertTrue(constraint.isOver());
    assertThrows(IllegalStateException.class, () -> allows(constraint, tokens, 'c'));
    assertThrows(IllegalStateException.class, () -> constraint.accept('c'));
  }

  @Test
  void withStopTokensTheModelEndsTheText() {
    TokenTable tokens = Vocabularies.BYTES.table();
    int stop = Vocabularies.BYTES.stop();
    TokenConstraint constraint = regex("ab?", tokens).start(stop, 'z', stop);
    assertFalse(allows(constraint, tokens, stop));
    assertThrows(IllegalStateException.class, () -> constraint.accept(stop));
    assertThrows(IllegalStateException.class, () -> constraint.accept('b'));
    for (int bad : new int[] {-1, tokens.vocabSize(), Integer.MAX_VALUE, Integer.MIN_VALUE}) {
      assertThrows(IllegalStateException.class, () -> constraint.accept(bad));
    }
    constraint.accept('a');
    assertTrue(allows(constraint, tokens, stop));
    assertTrue(allows(constraint, tokens, 'z'));
    constraint.accept('b');
    assertFalse(constraint.isOver());
    assertTrue(allows(constraint, tokens, stop));
    assertFalse(allows(constraint, tokens, 'b'));
    constraint.accept('z');
    assertTrue(constraint.isOver());
    assertThrows(IllegalStateException.class, () -> constraint.accept(stop));
  }

  @Test
  void stopTokensAreChecked() {
    TokenTable tokens = Vocabularies.BYTES.table();
    CompiledGrammar grammar = regex("[a-c]+", tokens);
    for (int bad : new int[] {-1, tokens.vocabSize(), Integer.MAX_VALUE}) {
      assertThrows(InvalidRequestException.class, () -> grammar.start(bad));
    }
    // No other token spells it, and the grammar needs it.
    assertThrows(InvalidRequestException.class, () -> grammar.start('b'));
    grammar.start('d');
    byte[][] twice = Vocabularies.bytes(List.of(new byte[] {'b'}));
    TokenConstraint constraint = regex("[a-c]+", TokenTable.of(twice)).start('b');
    TokenTable table = TokenTable.of(twice);
    assertFalse(allows(constraint, table, 'b'));
    assertTrue(allows(constraint, table, 256));
    constraint.accept('a');
    assertTrue(allows(constraint, table, 'b'));
  }

  @Test
  void bytesWithoutATokenAreNotNeeded() {
    List<byte[]> ascii = new ArrayList<>();
    for (int b = 0; b < 128; b++) {
      ascii.add(new byte[] {(byte) b});
    }
    ascii.add("é".getBytes(StandardCharsets.UTF_8));
    ascii.add(new byte[0]);
    TokenTable tokens = TokenTable.of(ascii.toArray(new byte[0][]));
    // A class keeps what can be spelled; the token of two bytes has no way on after one of them.
    TokenConstraint constraint = regex("[a-zé]+", tokens).start(129);
    assertTrue(allows(constraint, tokens, 'a'));
    assertFalse(allows(constraint, tokens, 128));
    InvalidRequestException none =
        assertThrows(InvalidRequestException.class, () -> regex("[é]", tokens));
    assertTrue(none.getMessage().contains("vocabulary"), none.getMessage());
    InvalidRequestException e =
        assertThrows(
            InvalidRequestException.class,
            () ->
                CompiledGrammar.compile(
                    ResponseFormat.jsonSchema(Map.of("enum", List.of("a", "é"))), tokens));
    assertTrue(e.getMessage().contains("0xC3"), e.getMessage());
  }

  @Test
  void tablesHoldEveryToken() {
    for (Vocabularies vocabulary : Vocabularies.values()) {
      TokenTable table = vocabulary.table();
      boolean[] seen = new boolean[table.vocabSize()];
      byte[] path = new byte[table.maxTokenBytes() + 1];
      for (int node = 0; node < table.nodes(); node++) {
        int depth = table.nodeDepth[node];
        path[depth - 1] = table.nodeByte[node];
        assertTrue(table.nodeEnd[node] > node && table.nodeEnd[node] <= table.nodes());
        for (int i = table.nodeTokenOffset[node]; i < table.nodeTokenOffset[node + 1]; i++) {
          int token = table.nodeTokens[i];
          assertEquals(depth, table.length(token));
          for (int k = 0; k < depth; k++) {
            assertEquals(path[k] & 0xFF, table.byteAt(token, k));
          }
          assertFalse(seen[token]);
          seen[token] = true;
        }
      }
      for (int token = 0; token < seen.length; token++) {
        assertEquals(table.length(token) > 0, seen[token]);
      }
    }
  }

  @Test
  void vocabularySizesAreChecked() {
    for (int bad : new int[] {-1, 0, (1 << 22) + 1, Integer.MAX_VALUE}) {
      assertThrows(InvalidRequestException.class, () -> TokenTable.of(null, bad));
    }
  }

  /** A cache of 1 MiB forgets all the time; what it says stays the same. */
  @Test
  void smallCachesChangeNothing() {
    Vocabularies vocabulary = Vocabularies.BYTE_LEVEL;
    for (Map<String, Object> schema :
        List.<Map<String, Object>>of(
            Map.of("type", "string", "maxLength", 5_000),
            SchemaCorpus.all().get("expression"),
            SchemaCorpus.all().get("any value"))) {
      ResponseFormat format = ResponseFormat.jsonSchema(schema);
      Walk large = new Walk(CompiledGrammar.compile(format, vocabulary.table()), vocabulary);
      CompiledGrammar grammar = CompiledGrammar.compile(format, vocabulary.table(), SMALL);
      Walk little = new Walk(grammar, vocabulary);
      for (int seed = 0; seed < 5; seed++) {
        int steps = 700;
        assertEquals(
            large.run(new Random(seed), steps, false), little.run(new Random(seed), steps, false));
      }
      assertTrue(grammar.pushdown().bytes() <= grammar.pushdown().maxBytes());
    }
  }

  @Test
  void manyThreadsShareAGrammar() throws Exception {
    Vocabularies vocabulary = Vocabularies.MADE_UP;
    ResponseFormat format = ResponseFormat.jsonSchema(SchemaCorpus.all().get("user interface"));
    CompiledGrammar alone = CompiledGrammar.compile(format, vocabulary.table());
    CompiledGrammar shared = CompiledGrammar.compile(format, vocabulary.table(), SMALL);
    ExecutorService threads = Executors.newFixedThreadPool(4);
    try {
      List<Future<String>> texts = new ArrayList<>();
      for (int seed = 0; seed < 200; seed++) {
        Random random = new Random(seed);
        texts.add(threads.submit(() -> new Walk(shared, vocabulary).run(random, 60, false)));
      }
      for (int seed = 0; seed < 200; seed++) {
        String expected = new Walk(alone, vocabulary).run(new Random(seed), 60, false);
        assertEquals(expected, texts.get(seed).get());
      }
    } finally {
      threads.shutdownNow();
    }
  }

  /** Hundreds of objects that begin alike: a mask may then miss tokens, but never a way on. */
  @Test
  void manyOverlappingAlternativesAreLimited() {
    List<Object> options = new ArrayList<>();
    for (int i = 0; i < 300; i++) {
      Map<String, Object> value = Map.of("type", "string", "pattern", "^.{" + i % 10 + "}x" + i);
      options.add(
          Map.of("type", "object", "properties", Map.of("a", value), "required", List.of("a")));
    }
    Vocabularies vocabulary = Vocabularies.BYTE_LEVEL;
    GrammarLimits patient =
        new GrammarLimits(32, 5000, 5000, 120_000, 900_000, Duration.ofMinutes(9), 8 << 20);
    CompiledGrammar grammar =
        CompiledGrammar.compile(
            ResponseFormat.jsonSchema(Map.of("anyOf", options)), vocabulary.table(), patient);
    Walk walk = new Walk(grammar, vocabulary);
    for (int seed = 0; seed < 3; seed++) {
      String text = walk.run(new Random(seed), 30, false);
      assertTrue(text.startsWith("{\"a\":"), text);
    }
  }

  /** Without any work to spare, single bytes are still found, and nothing wrong is. */
  @Test
  void limitedMasksHoldTheSingleBytes() {
    TokenTable tokens = Vocabularies.MADE_UP.table();
    CompiledGrammar grammar =
        CompiledGrammar.compile(
            ResponseFormat.jsonSchema(SchemaCorpus.all().get("invoice")), tokens);
    TokenMasks limited = new TokenMasks(grammar.pushdown(), tokens, 1 << 20, -1);
    ByteBuffer words = ByteBuffer.allocate((tokens.vocabSize() + 31) / 32 * 4);
    Pushdown.State state = grammar.pushdown().start();
    Random random = new Random(5);
    for (int step = 0; step < 200 && !state.isEnd(); step++) {
      limited.write(state, words, 0);
      List<Integer> allowed = new ArrayList<>();
      for (int token = 0; token < tokens.vocabSize(); token++) {
        boolean fits =
            tokens.length(token) == 1
                && grammar.pushdown().step(state, tokens.byteAt(token, 0)) != null;
        assertEquals(fits, (words.get(token / 8) >> token % 8 & 1) != 0, "token " + token);
        if (fits) {
          allowed.add(token);
        }
      }
      int token = allowed.get(random.nextInt(allowed.size()));
      state = grammar.pushdown().step(state, tokens.byteAt(token, 0));
    }
  }
}
