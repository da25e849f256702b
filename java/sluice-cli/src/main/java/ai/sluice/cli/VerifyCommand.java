package ai.sluice.cli;

import ai.sluice.api.EngineOptions;
import ai.sluice.core.VerificationReport;
import ai.sluice.core.VerificationReport.Check;
import ai.sluice.core.VerificationReport.KernelRun;
import ai.sluice.core.Verifier;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Parameters;

/** Compares a checkpoint's outputs with expected ones. */
@Command(
    name = "verify",
    abbreviateSynopsis = true,
    description = {
      "Compare a checkpoint with the outputs in its expected.safetensors.",
      "Prints the relative error of the logits and whether greedy tokens agree, whole, chunked,"
          + " cached and batched; also hidden states, choices of experts and their weights, what an"
          + " expert's capacity dropped, attended keys and other heads, where they are expected."
          + " In bfloat16 a model that chooses experts or keys runs with the expected choices."
          + " Where logits of some positions alone are expected, prompts run whole, in chunks and"
          + " their last tokens one a step, with the expected choices; the kernels that ran are"
          + " named, and in bfloat16 1.5 times the error of the reference in bfloat16 is allowed"
          + " where it is there."
          + " Exit code 0 if all agrees, 1 if not.",
      "'sluice-export golden' makes the expected outputs of any checkpoint."
    },
    footer = {
      "",
      "Examples:",
      "  sluice verify tests/golden/fixtures/llama",
      "  sluice verify ~/models/mine --dtype bfloat16"
    })
final class VerifyCommand implements Callable<Integer> {
  private final Console console;

  @Parameters(
      index = "0",
      paramLabel = "FOLDER",
      description = "A checkpoint's folder, with expected.safetensors in it.")
  String folder = "";

  @Mixin RunArguments runArguments = new RunArguments();

  VerifyCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    // AUTO means float32 here: what is stored does not say how exact the arithmetic must be.
    EngineOptions options =
        runArguments.builder().model(new ModelStore(console).resolve(folder)).build();
    VerificationReport report = Verifier.verify(options);
    String dtype = report.dtype().name().toLowerCase(Locale.ROOT);
    console.println(options.model() + ", arithmetic in " + dtype);
    int width = report.checks().stream().mapToInt(c -> c.name().length()).max().orElse(0);
    for (Check check : report.checks()) {
      console.println(line(check, width));
    }
    Map<String, List<String>> ran = new LinkedHashMap<>();
    for (KernelRun kernel : report.kernels()) {
      ran.computeIfAbsent(kernel.mode(), mode -> new ArrayList<>())
          .add(kernel.op() + "=" + kernel.variant());
    }
    ran.forEach(
        (mode, kernels) -> console.println("ran   " + mode + ": " + String.join(" ", kernels)));
    for (String reason : report.notChecked()) {
      console.println("not checked: " + reason);
    }
    console.println(verdict(report));
    return report.passed() ? Failures.OK : Failures.FAILED;
  }

  private static String verdict(VerificationReport report) {
    int all = report.checks().size();
    if (all == 0) {
      return "nothing was checked";
    }
    long failed = report.checks().stream().filter(check -> !check.passed()).count();
    return failed == 0
        ? (all == 1 ? "the one check agrees" : "all " + all + " checks agree")
        : failed + " of " + all + " checks failed";
  }

  private static String line(Check check, int width) {
    String error =
        check.tolerance() == 0
            ? (check.error() == 0 ? "equal" : percent(check.error()) + " differ")
            : String.format(
                Locale.ROOT, "error %.2e (expected: below %s)", check.error(),
                tolerance(check.tolerance()));
    return String.format(
        "%s  %-" + width + "s  %s, %s", check.passed() ? "ok  " : "FAIL", check.name(), error,
        check.detail());
  }

  /** Round ones as they are written, others with two digits. */
  private static String tolerance(double value) {
    String round = String.format(Locale.ROOT, "%.0e", value);
    return Double.parseDouble(round) == value ? round : String.format(Locale.ROOT, "%.1e", value);
  }

  private static String percent(double share) {
    return String.format(Locale.ROOT, "%.1f %%", share * 100);
  }
}
