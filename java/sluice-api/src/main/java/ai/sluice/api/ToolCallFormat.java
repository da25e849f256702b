package ai.sluice.api;

/**
 * How a model writes its calls of tools. Read in answers to chat messages with tools only. More
 * constants may come: keep a default branch.
 */
public enum ToolCallFormat {
  /** What the checkpoint's chat template shows; HERMES if it knows no tools. */
  AUTO,
  /** Calls are not told apart: they are text of the answer. */
  OFF,
  /**
   * {@code <tool_call>{"name": …, "arguments": …}</tool_call>}, any number, or a list of objects in
   * one: Hermes, Qwen, Granite, SmolLM and others.
   */
  HERMES,
  /** {@code [TOOL_CALLS]} and a list of objects, or {@code name[ARGS]{…}}: Mistral. */
  MISTRAL,
  /**
   * {@code {"name": …, "parameters": …}} as the whole answer, also after {@code <|python_tag|>}:
   * Llama 3.
   */
  LLAMA3,
  /** {@code <｜tool▁calls▁begin｜>} and what follows: DeepSeek V3, V3.1 and R1. */
  DEEPSEEK,
  /** {@code <|tool_calls_section_begin|>} and what follows: Kimi K2. */
  KIMI,
  /** Messages to a recipient in the channels of gpt-oss. */
  HARMONY
}
