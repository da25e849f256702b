package ai.sluice.eval;

import ai.sluice.api.InvalidRequestException;
import java.nio.file.Path;
import java.util.List;

/**
 * A task: where its items come from and how a model is asked. Tasks of a user's own are found as
 * services of this interface. Implementations are stateless and thread-safe.
 */
public interface EvalTask {
  /** Its name on the command line. */
  String name();

  /** One line about it. */
  String description();

  /** How many worked examples come before a question unless the caller says otherwise. */
  int defaultShots();

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
}
