package ai.sluice.eval;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.sandbox.CodeRunner;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * A task: where its items come from, how a model is asked, and what an answer is worth. Tasks of a
 * user's own are found as services of this interface. Implementations are stateless and thread-safe.
 */
public interface EvalTask {
  /** Its name on the command line; where its items name others, that of their group. */
  String name();

  /** One line about it. */
  String description();

  /** Of its prompts and scores; a run is not resumed with another. */
  String version();

  /** How many worked examples come before a question unless the caller says otherwise. */
  int defaultShots();

  /** Whether a caller may ask for another number of them. */
  default boolean takesShots() {
    return true;
  }

  /** How many published figures were made with. */
  default int publishedShots() {
    return defaultShots();
  }

  /**
   * Its items in the order of the files.
   *
   * @param data the folder of data sets, with one folder a set
   * @param shots worked examples before each question
   * @throws InvalidRequestException when a file is missing or malformed, or the task cannot have so
   *     many examples
   */
  List<EvalItem> items(Path data, int shots);

  /**
   * The files that {@link #items} reads, in a fixed order; their contents identify the data.
   *
   * @throws InvalidRequestException when one is missing
   */
  List<Path> files(Path data);

  /** How answers are generated; empty: its items have continuations to choose from. */
  default Optional<GenerationSettings> generation() {
    return Optional.empty();
  }

  /** Whether {@link #scores} runs generated programs. */
  default boolean runsCode() {
    return false;
  }

  /**
   * What an answer is worth.
   *
   * @param item one of {@link #items}
   * @param answer a model's
   * @param runner runs programs; asked only if {@link #runsCode}
   */
  ItemScores scores(EvalItem item, EvalAnswer answer, CodeRunner runner);
}
