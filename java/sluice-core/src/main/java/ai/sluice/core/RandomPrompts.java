package ai.sluice.core;

import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.ModelInfo;
import java.util.Random;

/** Requests to measure with: random tokens, greedy, as long as asked for. Not thread-safe. */
final class RandomPrompts {
  private final Random random = new Random(1);
  private final int end;

  /** Of a model whose embedding may have more rows than its tokenizer has tokens. */
  RandomPrompts(Engine engine) {
    ModelInfo model = engine.modelInfo();
    end =
        model.hasTokenizer()
            ? Math.min(model.vocabSize(), engine.tokenizer().vocabSize())
            : model.vocabSize();
  }

  GenerationRequest request(int promptTokens, int newTokens) {
    // Token 0 is padding in many models.
    return TracedGreedy.request(random.ints(promptTokens, 1, end).toArray(), newTokens);
  }

  /**
   * Requires that a request ended where it should.
   *
   * @throws IllegalStateException if it did not
   */
  static void requireLength(String name, GenerationResult result) {
    if (result.finishReason() != FinishReason.LENGTH) {
      throw new IllegalStateException(
          name + ": ended with " + result.finishReason() + " (expected: LENGTH) "
              + result.detail());
    }
  }
}
