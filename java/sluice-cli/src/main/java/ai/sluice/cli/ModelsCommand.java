package ai.sluice.cli;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import picocli.CommandLine.Command;

/** Lists the models in the user's cache. */
@Command(
    name = "models",
    description = "List the models in the user's cache. Their names are valid for --model.")
final class ModelsCommand implements Callable<Integer> {
  private final Console console;

  ModelsCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    ModelStore store = new ModelStore(console);
    List<Path> models = store.models();
    if (models.isEmpty()) {
      console.err().println("no models in " + store.folder() + "; 'sluice pull' fetches one");
      return Failures.OK;
    }
    int width = models.stream().mapToInt(path -> ModelStore.nameOf(path).length()).max().orElse(0);
    for (Path model : models) {
      console.println(
          String.format(
              "%-" + width + "s  %10s  %s",
              ModelStore.nameOf(model), Sizes.text(sizeOf(model)), model));
    }
    return Failures.OK;
  }

  private static long sizeOf(Path model) {
    try (Stream<Path> files = Files.walk(model)) {
      long bytes = 0;
      for (Path file : (Iterable<Path>) files.filter(Files::isRegularFile)::iterator) {
        bytes += Files.size(file);
      }
      return bytes;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
