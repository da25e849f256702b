package ai.sluice.api;

/**
 * How a model marks what it reasons with before its answer. Read in answers to chat messages only.
 * More constants may come: keep a default branch.
 */
public enum ReasoningFormat {
  /** What the checkpoint's chat template shows. */
  AUTO,
  /** Nothing is told apart: everything is the answer. */
  OFF,
  /** {@code <think>…</think>}: Qwen3, DeepSeek-R1, GLM, SmolLM3 and others. */
  THINK,
  /** {@code [THINK]…[/THINK]}: Mistral's reasoning models. */
  MISTRAL,
  /** {@code <seed:think>…</seed:think>}: Seed-OSS. */
  SEED,
  /** The channels of gpt-oss: analysis is reasoning, final and commentary are the answer. */
  HARMONY
}
