package ai.sluice.text.output;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.ReasoningFormat;
import ai.sluice.api.ToolCallFormat;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

class OutputParserTest {
  private static final Set<String> TOOLS = Set.of("f", "get_weather");
  private static final ReasoningFormat THINK = ReasoningFormat.THINK;
  private static final ReasoningFormat NO_REASONING = ReasoningFormat.OFF;

  /**
   * One output of a model and what it comes to.
   *
   * @param text a bar at its start: the prompt holds the marker before the reasoning
   * @param order kinds in order; calls as name, a space, arguments, and ! when whole
   */
  private record Case(
      ReasoningFormat reasoning, ToolCallFormat calls, String text, String order, String problem) {
    Said parse(List<String> pieces) {
      return Said.of(new OutputFormat(reasoning, calls), startsInside(), TOOLS, pieces);
    }

    boolean startsInside() {
      return text.startsWith("@");
    }

    String said() {
      return startsInside() ? text.substring(1) : text;
    }
  }

  private static Case ok(
      ReasoningFormat reasoning, ToolCallFormat calls, String text, String order) {
    return new Case(reasoning, calls, text, order, "");
  }

  private static List<Case> cases() {
    List<Case> all = new ArrayList<>();
    all.addAll(reasoning());
    all.addAll(hermes());
    all.addAll(mistral());
    all.addAll(llama());
    all.addAll(sections());
    all.addAll(harmony());
    return all;
  }

  private static List<Case> reasoning() {
    ToolCallFormat none = ToolCallFormat.OFF;
    return List.of(
        ok(THINK, none, "<think>\nhm,\n\nso\n</think>\n\nYes.\n", "|R:hm,\n\nso|A:Yes.\n"),
        ok(THINK, none, "\n <think>a</think>b", "|R:a|A:b"),
        ok(THINK, none, "@\nhm\n</think>\n\nYes", "|R:hm|A:Yes"),
        ok(THINK, none, "@hm </thin </think >x</think>", "|R:hm </thin </think >x"),
        ok(THINK, none, "@cut off</thi", "|R:cut off</thi"),
        ok(THINK, none, "@cut off\n\n", "|R:cut off\n\n"),
        ok(THINK, none, "@</think>\n\nYes", "|A:Yes"),
        ok(THINK, none, "No <think>marker</think> here", "|A:No <think>marker</think> here"),
        ok(THINK, none, "<thinking>", "|A:<thinking>"),
        ok(THINK, none, " <th", "|A: <th"),
        ok(THINK, none, "<<think>a</think>", "|A:<<think>a</think>"),
        ok(THINK, none, "<think>a</think>b<think>c</think>", "|R:a|A:b<think>c</think>"),
        ok(THINK, none, "<think>" + "\n".repeat(5) + "a" + "\n".repeat(20) + "</think>b",
            "|R:a" + "\n".repeat(12) + "|A:b"),
        ok(THINK, none, "", ""),
        ok(ReasoningFormat.MISTRAL, none, "[THINK]a\ud83d\ude00[/THINK]b", "|R:a\ud83d\ude00|A:b"),
        ok(ReasoningFormat.SEED, none, "<seed:think>a</seed:think>b", "|R:a|A:b"),
        ok(NO_REASONING, none, "<think>a</think>b", "|A:<think>a</think>b"));
  }

  private static List<Case> hermes() {
    ToolCallFormat hermes = ToolCallFormat.HERMES;
    String bad = "tool call: malformed (its text is in the answer)";
    String cut = "tool call: cut off (its text is in the answer)";
    return List.of(
        ok(THINK, hermes,
            "<think>\nhm\n</think>\n\nLet me see.\n<tool_call>\n{\"name\": \"get_weather\","
                + " \"arguments\": {\"city\": \"Z\u00fcrich \\\"{\", \"days\": [1, 2]}}\n"
                + "</tool_call>",
            "|R:hm|A:Let me see.|C:get_weather "
                + "{\"city\": \"Z\u00fcrich \\\"{\", \"days\": [1, 2]}!"),
        ok(NO_REASONING, hermes,
            "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>\n<tool_call>\n"
                + "{\"arguments\": {\"a\": {\"b\": null}}, \"name\": \"g\"}\n</tool_call>\n",
            "|C:f {}!|C:g {\"a\": {\"b\": null}}!"),
        ok(NO_REASONING, hermes,
            "<tool_call>[{\"name\": \"f\", \"arguments\": {\"x\": 1}},\n {\"name\": \"f\","
                + " \"arguments\": {\"x\": 2}}]</tool_call> done",
            "|C:f {\"x\": 1}!|C:f {\"x\": 2}!|A: done"),
        ok(NO_REASONING, hermes, "<tool_call>{\"name\":\"f\"}</tool_call>", "|C:f {}!"),
        ok(NO_REASONING, hermes, "<tool_call>{\"name\":\"f\",\"parameters\":null}</tool_call>",
            "|C:f {}!"),
        ok(NO_REASONING, hermes,
            "<tool_call>{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}</tool_call>",
            "|C:f {\"a\":1}!"),
        ok(NO_REASONING, hermes, "<tool_call>{\"name\":\"f\",\"arguments\":{}}", "|C:f {}!"),
        ok(NO_REASONING, hermes, "<tool_call>{\"name\":\"f\",\"arguments\":{}}} or\n\nnot",
            "|C:f {}!|A:} or\n\nnot"),
        ok(NO_REASONING, hermes, "a < b\n\n<tool_cal", "|A:a < b\n\n<tool_cal"),
        ok(NO_REASONING, hermes, "line\n\nline\n", "|A:line\n\nline\n"),
        new Case(NO_REASONING, hermes, "a\n<tool_call>\nnone</tool_call>\nb",
            "|A:a\n<tool_call>\nnone</tool_call>\nb", bad),
        new Case(NO_REASONING, hermes,
            "a\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": tru",
            "|A:a|C:f {\"x\": tru|A:\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": tru",
            cut),
        new Case(NO_REASONING, hermes,
            "<tool_call>{\"name\": \"f\", \"arguments\": {\"x\": ]}}</tool_call>",
            "|C:f {\"x\": |A:<tool_call>{\"name\": \"f\", \"arguments\": {\"x\": ]}}</tool_call>",
            bad),
        new Case(NO_REASONING, hermes,
            "<tool_call>{\"name\": \"f\", \"arguments\": {\"x\": tru}}</tool_call>",
            "|C:f {\"x\": tru}|A:<tool_call>{\"name\": \"f\", \"arguments\": {\"x\": tru}}"
                + "</tool_call>",
            bad),
        new Case(NO_REASONING, hermes,
            "<tool_call>oops<tool_call>{\"name\": \"f\"}</tool_call>",
            "|A:<tool_call>oops|C:f {}!", bad),
        new Case(NO_REASONING, hermes, "<tool_call>{\"arguments\": {}}</tool_call>",
            "|A:<tool_call>{\"arguments\": {}}</tool_call>",
            "tool call: without a name (its text is in the answer)"),
        new Case(NO_REASONING, hermes, "<tool_call>{\"name\": \"f\", \"arguments\": [1]}",
            "|C:f |A:<tool_call>{\"name\": \"f\", \"arguments\": [1]}",
            "tool call: its arguments are no object (its text is in the answer)"),
        new Case(NO_REASONING, hermes, "<tool_call>{\"name\": \"f\", \"arguments\": {\"x\":1e999}}",
            "|C:f {\"x\":1e999}|A:<tool_call>{\"name\": \"f\", \"arguments\": {\"x\":1e999}}", bad),
        new Case(NO_REASONING, hermes, "<tool_call>", "|A:<tool_call>", cut));
  }

  private static List<Case> mistral() {
    ToolCallFormat mistral = ToolCallFormat.MISTRAL;
    return List.of(
        ok(NO_REASONING, mistral,
            "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"a\": 1}}, {\"name\": \"g\","
                + " \"arguments\": {}}]",
            "|C:f {\"a\": 1}!|C:g {}!"),
        ok(ReasoningFormat.MISTRAL, mistral,
            "[THINK]hm[/THINK]ok[TOOL_CALLS]f[ARGS]{\"a\": {}}[TOOL_CALLS]g[ARGS]{}",
            "|R:hm|A:ok|C:f {\"a\": {}}!|C:g {}!"),
        ok(NO_REASONING, mistral, "[TOOL_CALLS]f[CALL_ID]abc123def[ARGS]{}", "|C:f {}!"),
        ok(NO_REASONING, mistral, "[TOOL_CALLS]f{\"a\":[]}", "|C:f {\"a\":[]}!"),
        ok(NO_REASONING, mistral, "[TOOL] [1, 2]", "|A:[TOOL] [1, 2]"),
        new Case(NO_REASONING, mistral, "[TOOL_CALLS]f[ARGS]x", "|A:[TOOL_CALLS]f[ARGS]x",
            "tool call: malformed (its text is in the answer)"),
        new Case(NO_REASONING, mistral, "[TOOL_CALLS]f[ARGS]{\"a\"",
            "|C:f {\"a\"|A:[TOOL_CALLS]f[ARGS]{\"a\"",
            "tool call: cut off (its text is in the answer)"),
        new Case(NO_REASONING, mistral, "[TOOL_CALLS][{\"name\": \"f\"}, {\"na",
            "|C:f {}!|A:, {\"na", "tool call: cut off (its text is in the answer)"));
  }

  private static List<Case> llama() {
    ToolCallFormat llama = ToolCallFormat.LLAMA3;
    return List.of(
        ok(NO_REASONING, llama,
            "{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Bern\"}}",
            "|C:get_weather {\"city\": \"Bern\"}!"),
        ok(NO_REASONING, llama,
            "<|python_tag|>{\"type\": \"function\", \"name\": \"f\", \"parameters\": {}};"
                + " {\"name\": \"f\", \"parameters\": {\"x\": 2}}\n",
            "|C:f {}!|C:f {\"x\": 2}!"),
        ok(NO_REASONING, llama, "{\"name\": \"Ada\", \"parameters\": {}}",
            "|A:{\"name\": \"Ada\", \"parameters\": {}}"),
        ok(NO_REASONING, llama, "{\"city\": \"Bern\"}", "|A:{\"city\": \"Bern\"}"),
        ok(NO_REASONING, llama, "Use {\"name\": \"f\"}", "|A:Use {\"name\": \"f\"}"),
        ok(NO_REASONING, llama, "<|python", "|A:<|python"),
        ok(NO_REASONING, llama, "{\"na", "|A:{\"na"),
        ok(NO_REASONING, llama, "{\"name\": \"f\"} and more", "|C:f {}!|A: and more"),
        new Case(NO_REASONING, llama, "<|python_tag|>print(1)", "|A:<|python_tag|>print(1)",
            "tool call: code, not a call (its text is in the answer)"),
        new Case(NO_REASONING, llama, "{\"name\": \"f\", \"parameters\": {\"x\"",
            "|C:f {\"x\"|A:{\"name\": \"f\", \"parameters\": {\"x\"",
            "tool call: cut off (its text is in the answer)"));
  }

  private static List<Case> sections() {
    ToolCallFormat deepseek = ToolCallFormat.DEEPSEEK;
    ToolCallFormat kimi = ToolCallFormat.KIMI;
    String v3 =
        "<｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{\"a\": 1}\n```<｜tool▁call▁end｜>";
    return List.of(
        ok(THINK, deepseek,
            "@hm\n</think>\n\nok<｜tool▁calls▁begin｜>" + v3 + "\n" + v3 + "<｜tool▁calls▁end｜>",
            "|R:hm|A:ok|C:f {\"a\": 1}!|C:f {\"a\": 1}!"),
        ok(NO_REASONING, deepseek,
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"a\": 1}<｜tool▁call▁end｜>"
                + "<｜tool▁call▁begin｜>g<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
            "|C:f {\"a\": 1}!|C:g {}!"),
        ok(NO_REASONING, deepseek, v3, "|C:f {\"a\": 1}!"),
        ok(NO_REASONING, deepseek, "<｜tool▁calls▁begin｜>so<｜", "|A:<｜tool▁calls▁begin｜>so<｜"),
        new Case(NO_REASONING, deepseek, "<｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```py\n{}",
            "|A:<｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```py\n{}",
            "tool call: malformed (its text is in the answer)"),
        new Case(NO_REASONING, deepseek, "<｜tool▁calls▁begin｜>" + v3.substring(0, 30),
            "|A:<｜tool▁calls▁begin｜>" + v3.substring(0, 30),
            "tool call: cut off (its text is in the answer)"),
        ok(NO_REASONING, kimi,
            "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0"
                + "<|tool_call_argument_begin|>{\"a\": 1}<|tool_call_end|><|tool_call_begin|>"
                + "functions.g:1<|tool_call_argument_begin|>{}<|tool_call_end|>"
                + "<|tool_calls_section_end|>",
            "|C:f {\"a\": 1}!|C:g {}!"));
  }

  private static List<Case> harmony() {
    ReasoningFormat channels = ReasoningFormat.HARMONY;
    ToolCallFormat harmony = ToolCallFormat.HARMONY;
    String analysis = "<|channel|>analysis<|message|>hm\n<|end|>";
    return List.of(
        ok(channels, harmony,
            analysis + "<|start|>assistant<|channel|>final<|message|>Yes.<|return|>",
            "|R:hm\n|A:Yes."),
        ok(channels, harmony,
            analysis + "<|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json"
                + "<|message|>{\"a\": \"<|x|>\"}<|call|>",
            "|R:hm\n|C:f {\"a\": \"<|x|>\"}!"),
        ok(channels, harmony,
            analysis + "<|start|>assistant to=functions.f<|channel|>commentary json<|message|> {}"
                + "<|call|>",
            "|R:hm\n|C:f {}!"),
        ok(channels, harmony,
            analysis + "<|start|>assistant<|channel|>commentary<|message|>First, the weather."
                + "<|end|><|start|>assistant<|channel|>analysis<|message|>so<|end|>",
            "|R:hm\n|A:First, the weather.|R:so"),
        ok(channels, ToolCallFormat.OFF, "<|channel|>analysis<|message|>cut <|en",
            "|R:cut <|en"),
        ok(ReasoningFormat.OFF, harmony, analysis, "|A:hm\n"),
        ok(channels, harmony, "no channels", "|A:no channels"),
        ok(channels, harmony, "x".repeat(2000), "|A:" + "x".repeat(2000)),
        ok(channels, ToolCallFormat.OFF,
            "<|channel|>commentary to=functions.f<|message|>{}<|call|>", "|A:{}"),
        new Case(channels, harmony,
            "<|channel|>commentary to=functions.f<|message|>{]<|call|>",
            "|C:f {|A:<|channel|>commentary to=functions.f<|message|>{]",
            "tool call: malformed (its text is in the answer)"),
        new Case(channels, harmony, "<|channel|>commentary to=functions.f<|message|>{",
            "|C:f {|A:<|channel|>commentary to=functions.f<|message|>{",
            "tool call: cut off (its text is in the answer)"));
  }

  @TestFactory
  Stream<DynamicTest> everyFormat() {
    return cases().stream()
        .map(
            each ->
                DynamicTest.dynamicTest(
                    each.calls() + ": " + each.text(),
                    () -> {
                      Said whole = each.parse(List.of(each.said()));
                      assertEquals(each.order(), whole.order.toString());
                      assertEquals(each.problem(), whole.problems);
                    }));
  }

  /** What is told apart depends on the characters alone, wherever tokens end. */
  @TestFactory
  Stream<DynamicTest> noSplitMakesADifference() {
    return cases().stream()
        .map(
            each ->
                DynamicTest.dynamicTest(
                    each.calls() + ": " + each.text(),
                    () -> {
                      String text = each.said();
                      String whole = each.parse(List.of(text)).toString();
                      for (int i = 0; i <= Math.min(text.length(), 400); i++) {
                        assertEquals(
                            whole,
                            each.parse(List.of(text.substring(0, i), text.substring(i)))
                                .toString());
                      }
                      for (int seed = 0; seed < 50; seed++) {
                        assertEquals(whole, each.parse(split(text, new Random(seed))).toString());
                      }
                    }));
  }

  private static List<String> split(String text, Random random) {
    List<String> pieces = new ArrayList<>();
    int longest = 1 + random.nextInt(9);
    for (int i = 0; i < text.length(); ) {
      int end = Math.min(text.length(), i + random.nextInt(longest + 1));
      pieces.add(text.substring(i, end));
      i = end;
    }
    return pieces;
  }

  /**
   * Outputs made of markers, JSON and noise at random: nothing throws, no split makes a difference,
   * and every character is there, in order, but those of markers and calls.
   */
  @Test
  void anythingGoes() {
    List<OutputFormat> formats = new ArrayList<>();
    for (ToolCallFormat calls : ToolCallFormat.values()) {
      if (calls != ToolCallFormat.AUTO) {
        formats.add(
            new OutputFormat(
                calls == ToolCallFormat.HARMONY ? ReasoningFormat.HARMONY : THINK, calls));
      }
    }
    int withCalls = 0;
    int givenUp = 0;
    for (int seed = 0; seed < 6000; seed++) {
      Random random = new Random(seed);
      OutputFormat format = formats.get(seed % formats.size());
      List<String> parts = new ArrayList<>(format.markers());
      parts.addAll(
          List.of(
              "{\"name\": \"f\", \"arguments\": {\"a\": [1, \"}\"]}}", "{}", "{", "}", "\"", "\n", "[",
              "]", ";", ",", " ", "f", "to=functions.f", "analysis", "final", "\u4e16", "<",
              "{\"name\": \"get_weather\", \"parameters\": {\"x\": \"\\\\\"}}", "\\", "name"));
      StringBuilder text = new StringBuilder();
      for (int i = random.nextInt(25); i >= 0; i--) {
        text.append(parts.get(random.nextInt(parts.size())));
      }
      Said whole = Said.of(format, false, TOOLS, List.of(text.toString()));
      assertEquals(
          whole.toString(),
          Said.of(format, false, TOOLS, split(text.toString(), random)).toString(),
          text.toString());
      withCalls += whole.arguments.isEmpty() ? 0 : 1;
      givenUp += whole.problems.isEmpty() ? 0 : 1;
      isPartOf(whole.reasoning.toString(), text.toString());
      isPartOf(whole.answer.toString(), text.toString());
      if (format.toolCalls() == ToolCallFormat.OFF || whole.arguments.isEmpty()) {
        String kept = whole.reasoning.toString() + whole.answer;
        for (String marker : format.markers()) {
          kept = kept.replace(marker, "");
        }
        // Without a call nothing but markers, heads and blanks between them is left out.
        if (format.reasoning() != ReasoningFormat.HARMONY) {
          String all = text.toString();
          for (String marker : format.markers()) {
            all = all.replace(marker, "");
          }
          assertEquals(bare(all), bare(kept), text.toString());
        }
      }
    }
    assertTrue(withCalls > 200, "with calls: " + withCalls);
    assertTrue(givenUp > 200, "given up: " + givenUp);
  }

  private static String bare(String text) {
    return text.replaceAll("\\s", "");
  }

  /** The characters of a part come in the same order in the whole. */
  private static void isPartOf(String part, String whole) {
    int at = 0;
    for (int i = 0; i < part.length(); i++) {
      at = whole.indexOf(part.charAt(i), at) + 1;
      assertTrue(at > 0, () -> part + " in " + whole);
    }
  }

  @Test
  void onlyWhatMayBeAMarkerIsHeldBack() {
    Said said = new Said();
    OutputParser parser =
        new OutputParser(
            new OutputFormat(THINK, ToolCallFormat.HERMES), false, Set.of(), said);
    parser.accept("<think>so");
    assertTrue(parser.isInReasoning());
    assertEquals("so", said.reasoning.toString());
    parser.accept(" far</th");
    assertEquals("so far", said.reasoning.toString());
    parser.accept("ere");
    assertEquals("so far</there", said.reasoning.toString());
    assertFalse(parser.isInAnswer());
    parser.accept("</think>a <tool");
    assertTrue(parser.isInAnswer());
    assertEquals("a ", said.answer.toString());
    parser.accept("_call>{\"name\": \"f\", \"arguments\": {\"x\": \"1");
    assertEquals(List.of("f({\"x\": \"1"), said.calls);
    parser.accept("2\"}");
    assertEquals(List.of("f({\"x\": \"12\"}"), said.calls);
    parser.accept("}");
    assertEquals(List.of("f({\"x\": \"12\"})!"), said.calls);
    assertEquals(List.of(Map.of("x", "12")), said.arguments);
  }

  @Test
  void idsThatTheModelGivesAreTold() {
    Said kimi =
        Said.of(
            new OutputFormat(NO_REASONING, ToolCallFormat.KIMI), false, TOOLS,
            List.of("<|tool_call_begin|>functions.f:3<|tool_call_argument_begin|>{}"));
    assertEquals(List.of("functions.f:3=f({})!"), kimi.calls);
    Said mistral =
        Said.of(
            new OutputFormat(NO_REASONING, ToolCallFormat.MISTRAL), false, TOOLS,
            List.of("[TOOL_CALLS]f[CALL_ID]abc123def[ARGS]{}"));
    assertEquals(List.of("abc123def=f({})!"), mistral.calls);
  }

  @Test
  void theEndOfATurnIsSeen() {
    OutputParser parser =
        new OutputParser(
            new OutputFormat(ReasoningFormat.HARMONY, ToolCallFormat.HARMONY), false, TOOLS,
            new Said());
    parser.accept("<|channel|>analysis<|message|>hm<|end|>");
    assertFalse(parser.isOver());
    parser.accept("<|start|>assistant to=functions.f<|channel|>commentary<|message|>{}<|call|>");
    assertTrue(parser.isOver());
  }
}
