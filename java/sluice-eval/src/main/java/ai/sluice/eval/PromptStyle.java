package ai.sluice.eval;

import ai.sluice.api.InvalidRequestException;
import java.util.Arrays;
import java.util.stream.Collectors;

/** Whose wording a task's prompts have; scores of two styles are not comparable. */
public enum PromptStyle {
  /** That of lm-eval 0.4.13, to the byte. */
  LM_EVAL("lm-eval"),
  /**
   * That of the DeepSeek-V2 paper (appendix, tables 24, 26 and 29), as far as it is published:
   * {@code mmlu} with 5 examples, {@code gsm8k} with 8, {@code humaneval} with none.
   */
  DEEPSEEK("deepseek");

  private final String label;

  PromptStyle(String label) {
    this.label = label;
  }

  /** Its name on the command line and in manifests. */
  public String label() {
    return label;
  }

  /**
   * The style of a name.
   *
   * @throws InvalidRequestException when there is none
   */
  public static PromptStyle named(String label) {
    return Arrays.stream(values())
        .filter(style -> style.label.equals(label))
        .findFirst()
        .orElseThrow(
            () ->
                new InvalidRequestException(
                    "prompt-style: " + label + " (expected: "
                        + Arrays.stream(values())
                            .map(PromptStyle::label)
                            .collect(Collectors.joining(" or "))
                        + ")"));
  }
}
