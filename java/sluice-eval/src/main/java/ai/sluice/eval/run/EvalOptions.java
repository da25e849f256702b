package ai.sluice.eval.run;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.EvalTask;
import ai.sluice.eval.sandbox.CodeRunner;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** What is evaluated, and where it is written. Immutable and thread-safe. */
public final class EvalOptions {
  private final List<EvalTask> tasks;
  private final Path data;
  private final Path out;
  private final @Nullable Integer shots;
  private final @Nullable Integer limit;
  private final List<String> subjects;
  private final String promptStyle;
  private final boolean predictOnly;
  private final boolean restart;
  private final @Nullable CodeRunner codeRunner;
  private final int codeWorkers;
  private final Supplier<Map<String, String>> environment;

  private EvalOptions(Builder builder) {
    if (builder.tasks.isEmpty()) {
      throw new InvalidRequestException("tasks: none (expected: at least one)");
    }
    if (builder.data == null) {
      throw new InvalidRequestException(
          "data: not set (expected: the folder that holds the data sets)");
    }
    if (builder.out == null) {
      throw new InvalidRequestException("out: not set (expected: the folder of the run)");
    }
    tasks = builder.tasks;
    data = builder.data;
    out = builder.out;
    shots = builder.shots;
    limit = builder.limit;
    subjects = builder.subjects;
    promptStyle = builder.promptStyle;
    predictOnly = builder.predictOnly;
    restart = builder.restart;
    codeRunner = builder.codeRunner;
    codeWorkers = builder.codeWorkers;
    environment = builder.environment;
  }

  /** Starts with the defaults; tasks, data and out must be set. */
  public static Builder builder() {
    return new Builder();
  }

  /** What is run, in order. */
  public List<EvalTask> tasks() {
    return tasks;
  }

  /** The folder that holds the data sets, with one folder a set. */
  public Path data() {
    return data;
  }

  /** The folder of the run. */
  public Path out() {
    return out;
  }

  /**
   * Worked examples before each question, of tasks that take them; absent: each task's default.
   */
  public OptionalInt shots() {
    return shots == null ? OptionalInt.empty() : OptionalInt.of(shots);
  }

  /** Items taken of each task, of a group of each subject, from the first; absent: all. */
  public OptionalInt limit() {
    return limit == null ? OptionalInt.empty() : OptionalInt.of(limit);
  }

  /** Of tasks with subjects those that are run; empty: all. */
  public List<String> subjects() {
    return subjects;
  }

  /** Whose prompts these are; names the choice in the run's identity. Default {@code lm-eval}. */
  public String promptStyle() {
    return promptStyle;
  }

  /** Whether no program is run: answers that are programs are judged elsewhere, later. */
  public boolean predictOnly() {
    return predictOnly;
  }

  /** Whether what the folder holds of a run is given up. */
  public boolean restart() {
    return restart;
  }

  /** Runs programs that models write, if there are to be any. */
  public Optional<CodeRunner> codeRunner() {
    return Optional.ofNullable(codeRunner);
  }

  /** Programs that run at once. */
  public int codeWorkers() {
    return codeWorkers;
  }

  /** Tells what the run's manifest has beside what the model says, by name. */
  public Supplier<Map<String, String>> environment() {
    return environment;
  }

  /** Collects options; each setter refuses a value out of range. Not thread-safe. */
  public static final class Builder {
    private List<EvalTask> tasks = List.of();
    private @Nullable Path data;
    private @Nullable Path out;
    private @Nullable Integer shots;
    private @Nullable Integer limit;
    private List<String> subjects = List.of();
    private String promptStyle = "lm-eval";
    private boolean predictOnly;
    private boolean restart;
    private @Nullable CodeRunner codeRunner;
    private int codeWorkers = Math.max(1, Runtime.getRuntime().availableProcessors() / 2);
    private Supplier<Map<String, String>> environment = Map::of;

    private Builder() {}

    /** Sets what is run. */
    public Builder tasks(List<EvalTask> value) {
      tasks = List.copyOf(value);
      return this;
    }

    /** Sets the folder that holds the data sets. */
    public Builder data(Path value) {
      data = value;
      return this;
    }

    /** Sets the folder of the run; it is made if it is not there. */
    public Builder out(Path value) {
      out = value;
      return this;
    }

    /**
     * Sets the worked examples before each question.
     *
     * @throws InvalidRequestException if it is negative
     */
    public Builder shots(int value) {
      shots = atLeast("num-fewshot", value, 0);
      return this;
    }

    /**
     * Sets how many items are taken of each task, of a group of each subject.
     *
     * @throws InvalidRequestException if it is less than 1
     */
    public Builder limit(int value) {
      limit = atLeast("limit", value, 1);
      return this;
    }

    /** Sets the subjects, as their files are named: {@code us_foreign_policy}. */
    public Builder subjects(List<String> value) {
      subjects = value.stream().distinct().sorted().toList();
      return this;
    }

    /** Sets the name of the style that the tasks' prompts have. */
    public Builder promptStyle(String value) {
      promptStyle = value;
      return this;
    }

    /** Sets whether no program is run. */
    public Builder predictOnly(boolean value) {
      predictOnly = value;
      return this;
    }

    /** Sets whether what the folder holds of a run is given up. */
    public Builder restart(boolean value) {
      restart = value;
      return this;
    }

    /** Sets what runs programs; it stays the caller's to close. */
    public Builder codeRunner(CodeRunner value) {
      codeRunner = value;
      return this;
    }

    /**
     * Sets how many programs run at once. Default: half of the cores.
     *
     * @throws InvalidRequestException if it is less than 1
     */
    public Builder codeWorkers(int value) {
      codeWorkers = atLeast("codeWorkers", value, 1);
      return this;
    }

    /** Sets what else the manifest tells; asked once, beside the run. */
    public Builder environment(Supplier<Map<String, String>> value) {
      environment = value;
      return this;
    }

    /**
     * Builds the options.
     *
     * @throws InvalidRequestException unless tasks, data and out are set
     */
    public EvalOptions build() {
      return new EvalOptions(this);
    }

    private static int atLeast(String name, int value, int least) {
      if (value < least) {
        throw new InvalidRequestException(
            name + ": " + value + " (expected: at least " + least + ")");
      }
      return value;
    }
  }
}
