package ai.sluice.eval.compare;

import ai.sluice.eval.run.EvalRun;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;

/** What runs are called and when they were made. */
final class RunNames {
  private RunNames() {}

  /** The models' names; where two are equal, with their folders'. */
  static List<String> of(List<EvalRun> runs) {
    List<String> models = runs.stream().map(RunNames::model).toList();
    Map<String, Long> counts =
        models.stream().collect(Collectors.groupingBy(Function.identity(), Collectors.counting()));
    List<String> out = new ArrayList<>();
    for (int i = 0; i < models.size(); i++) {
      String name = models.get(i);
      String folder = folder(runs.get(i));
      out.add(
          counts.getOrDefault(name, 1L) == 1 || name.equals(folder) ? name : folder + ", " + name);
    }
    return out;
  }

  static String model(EvalRun run) {
    String model = run.manifest().environment().getOrDefault("model", "");
    String name = model.substring(model.lastIndexOf('/') + 1).replaceFirst("\\.gguf$", "");
    return name.isEmpty() ? folder(run) : name;
  }

  static String folder(EvalRun run) {
    Path name = run.folder().toAbsolutePath().normalize().getFileName();
    return name == null ? run.folder().toString() : name.toString();
  }

  /** When it was begun, as its manifest has it; empty if it does not. */
  static String date(EvalRun run) {
    Map<String, String> environment = run.manifest().environment();
    return environment.getOrDefault("date", environment.getOrDefault("started", ""));
  }
}
