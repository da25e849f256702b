package ai.sluice.text.grammar;

import ai.sluice.api.ResponseFormat;
import ai.sluice.text.TokenConstraint;
import ai.sluice.text.Tokenizer;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/**
 * Prints what grammars cost: compiling, and masks with acceptance for each token of texts that a
 * model might write, the first time and after. Of each the quickest of several runs is shown: other
 * work on the machine counts least. Not a test; run its main, with paths of
 * tokenizer.json files for other vocabularies than SmolLM2's.
 */
final class GrammarBench {
  private static final int COMPILES = 7;
  /** The usual ones, but no clock: on a busy machine the first compilation takes seconds. */
  private static final GrammarLimits LIMITS =
      new GrammarLimits(32, 5_000, 5_000, 120_000, 100_000, Duration.ofMinutes(1), 8L << 20);

  private static final int ROUNDS = 200;
  private static final String PROSE =
      "The engine keeps every request's place in the batch, and plans the next step while the"
          + " current one runs; a row that ends early (or is cancelled) gives its blocks back at"
          + " once. Größe und Maß: 漢字 stay whole, \\\"quotes\\\" and \\n line ends are escaped. ";

  private record Case(String name, ResponseFormat format, String text) {}

  private GrammarBench() {}

  public static void main(String[] args) {
    print("smollm2", Vocabularies.SMOLLM2.table());
    for (String arg : args) {
      try (Tokenizer tokenizer = Tokenizer.fromFile(Path.of(arg))) {
        long begin = System.nanoTime();
        TokenTable table = TokenTable.of(tokenizer, tokenizer.vocabSize());
        System.out.printf("%ntable of %s: %d ms%n", arg, (System.nanoTime() - begin) / 1_000_000);
        print(arg, table);
      }
    }
  }

  private static List<Case> cases() {
    String long1 = PROSE.repeat(3);
    List<Case> all = new ArrayList<>();
    all.add(
        new Case(
            "person",
            schema("person"),
            "{\"first name\": \"Ada\", \"last name\": \"Lovelace\", \"age\": 36, \"email\":"
                + " \"ada@example.org\", \"verified\": true}"));
    all.add(
        new Case(
            "steps of prose",
            schema("math steps"),
            "{\"steps\": [{\"explanation\": \"" + long1 + "\", \"output\": \"" + PROSE
                + "\"}, {\"explanation\": \"" + PROSE + "\", \"output\": \"x\"}],"
                + " \"final_answer\": \"" + long1 + "\"}"));
    all.add(
        new Case(
            "invoice",
            schema("invoice"),
            "{\"id\": \"123e4567-e89b-12d3-a456-426614174000\", \"issued\":"
                + " \"2024-02-29T10:20:30Z\", \"currency\": \"EUR\", \"lines\": ["
                + "{\"sku\": \"AB-1234\", \"quantity\": 12, \"unit_price\": 19.99}, ".repeat(19)
                + "{\"sku\": \"AB-1234\", \"quantity\": 12, \"unit_price\": 19.99}],"
                + " \"paid\": false}"));
    all.add(
        new Case(
            "deep recursion",
            schema("user interface"),
            "{\"type\": \"div\", \"label\": \"a\", \"children\": [".repeat(30)
                + "], \"attributes\": [{\"name\": \"k\", \"value\": \"v\"}]}".repeat(30)));
    all.add(
        new Case(
            "any object",
            ResponseFormat.jsonObject(),
            "{\"a\": [1, 2, {\"b\": null, \"text\": \"" + long1 + "\"}], \"c\": 1.5e10}"));
    all.add(
        new Case(
            "maxLength 4000",
            ResponseFormat.jsonSchema(Map.of("type", "string", "maxLength", 4_000)),
            "\"" + PROSE.repeat(8) + "\""));
    all.add(
        new Case(
            "pattern of counts",
            ResponseFormat.jsonSchema(
                Map.of("type", "string", "pattern", "^([A-Za-z]{1,20} ){1,60}$")),
            "\"" + "grammar masks are computed ahead ".repeat(12) + "\""));
    all.add(new Case("regex", ResponseFormat.regex("(\\w+[ ,.]+)*END"), "some words, and more. "
        .repeat(20) + "END"));
    return all;
  }

  private static ResponseFormat schema(String name) {
    return ResponseFormat.jsonSchema(SchemaCorpus.all().get(name));
  }

  private static void print(String name, TokenTable table) {
    System.out.printf(
        "%n%s: %d tokens, %d nodes, longest %d bytes; times in microseconds%n",
        name, table.vocabSize(), table.nodes(), table.maxTokenBytes());
    System.out.printf(
        "%-18s %8s %8s %7s %7s | %9s %9s %9s | %8s %8s %8s%n",
        "", "compile", "best", "states", "tokens", "first avg", "median", "p99", "then avg",
        "median", "p99");
    ByteBuffer mask = ByteBuffer.allocateDirect((table.vocabSize() + 31) / 32 * 4);
    for (Case each : cases()) {
      int[] tokens = cut(each.text(), table);
      long first = 0;
      long best = Long.MAX_VALUE;
      long[] cold = {};
      CompiledGrammar grammar = CompiledGrammar.compile(each.format(), table, LIMITS);
      for (int i = 0; i < COMPILES; i++) {
        long begin = System.nanoTime();
        grammar = CompiledGrammar.compile(each.format(), table, LIMITS);
        long nanos = System.nanoTime() - begin;
        first = i == 0 ? nanos : first;
        best = Math.min(best, nanos);
        // The quickest of them: other work on the machine counts least.
        long[] times = run(grammar, tokens, mask);
        cold = i == 0 || Arrays.stream(times).sum() < Arrays.stream(cold).sum() ? times : cold;
      }
      long[] steady = {};
      for (int round = 0; round < ROUNDS; round++) {
        long[] times = run(grammar, tokens, mask);
        boolean better =
            round == 0 || Arrays.stream(times).sum() < Arrays.stream(steady).sum();
        steady = better ? times : steady;
      }
      System.out.printf(
          "%-18s %8d %8d %7d %7d | %s | %s%n",
          each.name(), first / 1000, best / 1000, grammar.pushdown().automaton().states(),
          tokens.length, row(cold), row(steady));
    }
  }

  private static String row(long[] nanos) {
    Arrays.sort(nanos);
    return String.format(
        "%9.1f %9.1f %9.1f",
        Arrays.stream(nanos).average().orElse(0) / 1000,
        nanos[nanos.length / 2] / 1000.0,
        nanos[(int) (nanos.length * 0.99)] / 1000.0);
  }

  private static long[] run(CompiledGrammar grammar, int[] tokens, ByteBuffer mask) {
    TokenConstraint constraint = grammar.start();
    long[] times = new long[tokens.length];
    for (int i = 0; i < tokens.length; i++) {
      long begin = System.nanoTime();
      constraint.allow(mask, 0);
      constraint.accept(tokens[i]);
      times[i] = System.nanoTime() - begin;
    }
    return times;
  }

  /** The longest token at each place, as a model mostly writes. */
  private static int[] cut(String text, TokenTable table) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    int[] cut = new int[bytes.length];
    int size = 0;
    for (int at = 0; at < bytes.length; ) {
      int node = 0;
      int end = table.nodes();
      int token = -1;
      for (int i = at; i < bytes.length && node < end; i++) {
        while (node < end && table.nodeByte[node] != bytes[i]) {
          node = table.nodeEnd[node];
        }
        if (node >= end) {
          break;
        }
        if (table.nodeTokenOffset[node] < table.nodeTokenOffset[node + 1]) {
          token = table.nodeTokens[table.nodeTokenOffset[node]];
        }
        end = table.nodeEnd[node++];
      }
      cut[size++] = token;
      at += table.length(token);
    }
    return Arrays.copyOf(cut, size);
  }
}
