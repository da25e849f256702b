package ai.sluice.gpu;

import static org.junit.platform.engine.discovery.DiscoverySelectors.selectClass;

import java.util.Arrays;
import org.junit.platform.engine.DiscoverySelector;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.launcher.LauncherDiscoveryRequest;
import org.junit.platform.launcher.TagFilter;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;

/** Runs test classes where there is no Maven: one line for each test, exit code 1 if one failed. */
public final class TestsMain {
  private TestsMain() {}

  private static final class Printer implements TestExecutionListener {
    private int passed;
    private int failed;
    private int skipped;

    @Override
    public void executionSkipped(TestIdentifier test, String reason) {
      skipped++;
      System.out.println("SKIP " + name(test) + ": " + reason);
    }

    @Override
    public void executionFinished(TestIdentifier test, TestExecutionResult result) {
      if (result.getStatus() == TestExecutionResult.Status.SUCCESSFUL) {
        if (test.isTest()) {
          passed++;
          System.out.println("ok   " + name(test));
        }
        return;
      }
      if (result.getStatus() == TestExecutionResult.Status.ABORTED) {
        skipped++;
        System.out.println(
            "SKIP " + name(test) + ": " + result.getThrowable().map(Throwable::getMessage).orElse(""));
        return;
      }
      failed++;
      System.out.println("FAIL " + name(test));
      result.getThrowable().ifPresent(e -> e.printStackTrace(System.out));
    }

    private static String name(TestIdentifier test) {
      return test.getUniqueId().replaceAll(".*\\[class:([^\\]]*)\\]/?", "$1 ");
    }
  }

  /** The arguments are names of classes. Tests that take minutes (tag "long") are left out. */
  public static void main(String[] classes) {
    Printer printer = new Printer();
    LauncherDiscoveryRequest request =
        LauncherDiscoveryRequestBuilder.request()
            .selectors(
                Arrays.stream(classes)
                    .map(name -> (DiscoverySelector) selectClass(name))
                    .toList())
            .filters(TagFilter.excludeTags("long"))
            .build();
    LauncherFactory.create().execute(request, printer);
    System.out.printf(
        "%d passed, %d failed, %d skipped%n", printer.passed, printer.failed, printer.skipped);
    // A leaked engine's threads must not keep the process.
    System.exit(printer.failed == 0 && printer.passed > 0 ? 0 : 1);
  }
}
