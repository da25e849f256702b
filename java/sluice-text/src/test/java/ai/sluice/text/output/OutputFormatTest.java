package ai.sluice.text.output;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ReasoningFormat;
import ai.sluice.api.ToolCallFormat;
import ai.sluice.text.ChatTemplate;
import ai.sluice.text.jinja.GoldenFiles;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

class OutputFormatTest {

  private static OutputFormat of(String template) {
    return OutputFormat.of(
        ReasoningFormat.AUTO, ToolCallFormat.AUTO, ChatTemplate.parse(template));
  }

  /** What each public template shows; those not named here show nothing that is known. */
  private static final Map<String, String> EXPECTED =
      Map.ofEntries(
          Map.entry("Apriel-1.6-15b-Thinker-fixed", "OFF OFF"),
          Map.entry("Bielik-11B-v3.0-Instruct", "THINK HERMES"),
          Map.entry("ByteDance-Seed-OSS", "SEED OFF"),
          Map.entry("GLM-4.6", "THINK OFF"),
          Map.entry("GLM-4.7-Flash", "THINK OFF"),
          Map.entry("HuggingFaceTB-SmolLM3-3B", "THINK HERMES"),
          Map.entry("Kimi-K2-Instruct", "OFF KIMI"),
          Map.entry("Kimi-K2-Thinking", "THINK KIMI"),
          Map.entry("MiMo-VL", "OFF HERMES"),
          Map.entry("MiniMax-M2", "THINK OFF"),
          Map.entry("Mistral-Small-3.2-24B-Instruct-2506", "OFF MISTRAL"),
          Map.entry("Qwen-QwQ-32B", "THINK HERMES"),
          Map.entry("Qwen-Qwen2.5-7B-Instruct", "OFF HERMES"),
          Map.entry("Qwen-Qwen3-0.6B", "THINK HERMES"),
          Map.entry("Qwen3-Coder", "OFF OFF"),
          Map.entry("Qwen3.5-4B", "THINK OFF"),
          Map.entry("deepseek-ai-DeepSeek-R1-Distill-Llama-8B", "THINK DEEPSEEK"),
          Map.entry("deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", "THINK DEEPSEEK"),
          Map.entry("deepseek-ai-DeepSeek-V3.1", "THINK DEEPSEEK"),
          Map.entry("deepseek-ai-DeepSeek-V3.2", "THINK OFF"),
          Map.entry("google-gemma-2-2b-it", "OFF HERMES"),
          Map.entry("ibm-granite-granite-3.3-2B-Instruct", "THINK OFF"),
          Map.entry("ibm-granite-granite-4.0", "OFF HERMES"),
          Map.entry("ibm-granite-granite-4.1", "OFF HERMES"),
          Map.entry("llama-cpp-deepseek-r1", "THINK DEEPSEEK"),
          Map.entry("llama-cpp-rwkv-world", "THINK HERMES"),
          Map.entry("meta-llama-Llama-3.1-8B-Instruct", "OFF LLAMA3"),
          Map.entry("meta-llama-Llama-3.2-3B-Instruct", "OFF LLAMA3"),
          Map.entry("meta-llama-Llama-3.3-70B-Instruct", "OFF LLAMA3"),
          Map.entry("microsoft-Phi-3.5-mini-instruct", "OFF HERMES"),
          Map.entry("mistralai-Ministral-3-14B-Reasoning-2512", "MISTRAL MISTRAL"),
          Map.entry("mistralai-Mistral-Nemo-Instruct-2407", "OFF MISTRAL"),
          Map.entry("moonshotai-Kimi-K2", "OFF KIMI"),
          Map.entry("npm-deepseek_v3", "OFF DEEPSEEK"),
          Map.entry("npm-gemma3", "OFF HERMES"),
          Map.entry("npm-internlm2", "OFF HERMES"),
          Map.entry("npm-llama3", "OFF HERMES"),
          Map.entry("npm-minicpm_v4_5", "THINK HERMES"),
          Map.entry("npm-qwen3", "THINK HERMES"),
          Map.entry("openai-gpt-oss-120b", "HARMONY HARMONY"),
          Map.entry("smollm2", "OFF HERMES"),
          Map.entry("unsloth-Apriel-1.5", "OFF HERMES"),
          Map.entry("unsloth-mistral-Devstral-Small-2507", "OFF MISTRAL"));

  @Test
  void thePublicTemplatesShowTheirFormats() throws IOException {
    Map<String, String> found = new TreeMap<>();
    Map<String, String> expected = new TreeMap<>(EXPECTED);
    try (Stream<Path> files = Files.list(GoldenFiles.FOLDER.resolve("templates"))) {
      for (Path file : files.toList()) {
        String name = file.getFileName().toString().replace(".jinja", "");
        OutputFormat format = of(Files.readString(file));
        found.put(name, format.reasoning() + " " + format.toolCalls());
        expected.putIfAbsent(name, "OFF OFF");
      }
    }
    assertTrue(found.size() >= EXPECTED.size(), found.toString());
    expected.forEach((name, format) -> assertEquals(format, found.get(name), name));
    assertEquals(expected.keySet(), found.keySet());
  }

  @Test
  void aGivenFormatGoesBeforeTheTemplates() {
    ChatTemplate template = ChatTemplate.parse("{{ '<think>' }}</think> {{ tools }}<tool_call>");
    OutputFormat given =
        OutputFormat.of(ReasoningFormat.OFF, ToolCallFormat.MISTRAL, template);
    assertEquals(new OutputFormat(ReasoningFormat.OFF, ToolCallFormat.MISTRAL), given);
    assertTrue(given.withoutTools().isNone());
  }

  @Test
  void channelsGoWithChannelsOnly() {
    InvalidRequestException e =
        assertThrows(
            InvalidRequestException.class,
            () -> new OutputFormat(ReasoningFormat.HARMONY, ToolCallFormat.HERMES));
    assertTrue(e.getMessage().contains("HARMONY and HERMES"), e.getMessage());
  }
}
