package ai.sluice.eval;

import java.util.List;

/**
 * What a model answered: one of both lists is empty.
 *
 * @param choices of an item with continuations a score for each, in their order
 * @param texts else the generated answers, each cut at the stop texts
 */
public record EvalAnswer(List<Choice> choices, List<String> texts) {
  /**
   * How likely a continuation is.
   *
   * @param logprob the sum of its tokens' natural log-probabilities
   * @param greedy whether greedy decoding would give it
   */
  public record Choice(double logprob, boolean greedy) {}

  /** Copies the lists. */
  public EvalAnswer {
    choices = List.copyOf(choices);
    texts = List.copyOf(texts);
  }

  /** Of choices. */
  public static EvalAnswer ofChoices(List<Choice> choices) {
    return new EvalAnswer(choices, List.of());
  }

  /** Of one generated text. */
  public static EvalAnswer ofText(String text) {
    return new EvalAnswer(List.of(), List.of(text));
  }

  /** The likeliest choice, of equal ones the lowest. */
  public int best() {
    int best = 0;
    for (int i = 1; i < choices.size(); i++) {
      if (choices.get(i).logprob() > choices.get(best).logprob()) {
        best = i;
      }
    }
    return best;
  }

  /** Whether another choice is exactly as likely as the best one. */
  public boolean isTied() {
    double best = choices.isEmpty() ? Double.NaN : choices.get(best()).logprob();
    return choices.stream().filter(choice -> choice.logprob() == best).count() > 1;
  }
}
