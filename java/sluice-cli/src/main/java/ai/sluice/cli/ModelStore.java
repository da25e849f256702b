package ai.sluice.cli;

import ai.sluice.api.InvalidRequestException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.Collectors;

/** The models in the user's cache, and what a model's name on the command line stands for. */
final class ModelStore {
  private static final String GGUF = ".gguf";

  private final Console console;

  ModelStore(Console console) {
    this.console = console;
  }

  /** Sluice's folder in the user's cache. */
  Path cacheFolder() {
    return console
        .environment("XDG_CACHE_HOME")
        .map(Path::of)
        // The convention says that a relative path there is to be ignored.
        .filter(Path::isAbsolute)
        .orElseGet(() -> console.home().resolve(".cache"))
        .resolve("sluice");
  }

  /** The folder of pulled models; may not exist yet. */
  Path folder() {
    return cacheFolder().resolve("models");
  }

  /** Where a pinned model lies once it is pulled. */
  Path fileOf(PinnedModel model) {
    return folder().resolve(model.file());
  }

  /** Whether a pinned model is there in full size; {@code pull} checks the hash as well. */
  boolean has(PinnedModel model) {
    try {
      return Files.size(fileOf(model)) == model.fileBytes();
    } catch (IOException e) {
      return false;
    }
  }

  /**
   * The models in the cache: GGUF files and folders with a config.json, by name.
   *
   * @throws UncheckedIOException if the folder cannot be read
   */
  List<Path> models() {
    List<Path> models = new ArrayList<>();
    if (!Files.isDirectory(folder())) {
      return models;
    }
    try (DirectoryStream<Path> entries = Files.newDirectoryStream(folder())) {
      for (Path entry : entries) {
        String name = entry.getFileName().toString();
        boolean file = name.toLowerCase(Locale.ROOT).endsWith(GGUF) && Files.isRegularFile(entry);
        if (!name.startsWith(".") && (file || Files.exists(entry.resolve("config.json")))) {
          models.add(entry);
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    models.sort(Comparator.comparing(ModelStore::nameOf));
    return models;
  }

  /** What a user may call a model in the cache: its file name without the suffix. */
  static String nameOf(Path model) {
    String name = model.getFileName().toString();
    return name.toLowerCase(Locale.ROOT).endsWith(GGUF)
        ? name.substring(0, name.length() - GGUF.length())
        : name;
  }

  /** A pinned model by its name, whatever the case. */
  static Optional<PinnedModel> pinned(String name) {
    return PinnedModel.ALL.stream()
        .filter(model -> model.name().equalsIgnoreCase(name))
        .findFirst();
  }

  /**
   * Finds the checkpoint that a name stands for: a path, or a model in the cache. A pinned model
   * that is absent is pulled first.
   *
   * @throws InvalidRequestException if there is no such model
   */
  Path resolve(String name) {
    if (name.isEmpty()) {
      throw new InvalidRequestException(
          "--model: empty (expected: a folder, a .gguf file or the name of a pulled model)");
    }
    Path path;
    try {
      path = Path.of(name);
    } catch (InvalidPathException e) {
      throw new InvalidRequestException(
          "--model: " + name + " (expected: a folder, a .gguf file or the name of a pulled model)");
    }
    if (Files.exists(path)) {
      return path;
    }
    for (Path model : models()) {
      if (nameOf(model).equalsIgnoreCase(name)) {
        return model;
      }
    }
    Optional<PinnedModel> pinned = pinned(name);
    if (pinned.isPresent()) {
      return pulled(pinned.get());
    }
    throw new InvalidRequestException(
        "model: " + name + " not found (expected: a folder, a .gguf file or one of "
            + String.join(", ", names()) + ")");
  }

  /** The default model; pulled first if it is absent. */
  Path defaultModel() {
    return pulled(PinnedModel.DEFAULT);
  }

  private Path pulled(PinnedModel model) {
    return has(model) ? fileOf(model) : new ModelPull(console, this, model).run().file();
  }

  private List<String> names() {
    List<String> names = PinnedModel.ALL.stream().map(PinnedModel::name).toList();
    List<String> others =
        models().stream()
            .filter(path -> PinnedModel.ALL.stream().noneMatch(m -> fileOf(m).equals(path)))
            .map(ModelStore::nameOf)
            .collect(Collectors.toList());
    others.addAll(0, names);
    return others;
  }
}
