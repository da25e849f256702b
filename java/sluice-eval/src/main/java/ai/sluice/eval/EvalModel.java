package ai.sluice.eval;

import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;

/** A model that is evaluated: an engine in this process, or a server. Thread-safe. */
public interface EvalModel extends AutoCloseable {
  /**
   * What was answered and what it cost.
   *
   * @param answer the answer
   * @param promptTokens of the prompt, and of continuations all but their last
   * @param cachedTokens of these found in a cache
   * @param truncatedTokens cut off the prompt's beginning because it was too long
   * @param newTokens computed for the answer: generated, or of continuations
   * @param seconds from sending to the end
   */
  record Reply(
      EvalAnswer answer,
      int promptTokens,
      int cachedTokens,
      int truncatedTokens,
      int newTokens,
      double seconds) {}

  /** The prompt as it will be sent, for hashes and ordering. */
  String rendered(EvalItem item);

  /** The texts among which it chooses as they will be sent, none where an answer is generated. */
  default List<String> continuations(EvalItem item) {
    return item.continuations();
  }

  /**
   * Asks for an item's answer.
   *
   * @param item of a task
   * @param settings how it is generated; looked at only where the item has no continuations
   * @return fails with a {@link ai.sluice.api.SluiceException} or an {@link EvalException} naming
   *     the reason
   */
  CompletableFuture<Reply> ask(EvalItem item, GenerationSettings settings);

  /** Requests worth having open at once. */
  int window();

  /** What identifies it, by name: a run goes on only with equal values. */
  Map<String, String> identity();

  /** What else there is to tell about it, by name. */
  Map<String, String> environment();

  @Override
  void close();
}
