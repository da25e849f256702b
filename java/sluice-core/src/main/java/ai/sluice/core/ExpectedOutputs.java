package ai.sluice.core;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.checkpoint.Checkpoint;
import ai.sluice.checkpoint.SafetensorsFile;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * The outputs that a model must produce, from expected.safetensors. Remembers what was asked for,
 * so that nothing in the file is passed over in silence. Not thread-safe.
 */
final class ExpectedOutputs {
  private static final int ANY = -1;
  private static final String POSITIONS = "positions_";

  private final SafetensorsFile file;
  private final int maxPositions;
  private final int vocabSize;
  private final List<int[]> prompts = new ArrayList<>();
  private final List<int[]> greedy = new ArrayList<>();
  private final Set<String> asked = new HashSet<>();
  private final Map<Integer, int[]> positions = new HashMap<>();

  /**
   * Reads the prompts.
   *
   * @throws CheckpointFormatException if there are none, or they do not fit the model
   */
  ExpectedOutputs(Path path, Checkpoint checkpoint) {
    file = SafetensorsFile.open(path);
    maxPositions = checkpoint.maxPositions();
    vocabSize = checkpoint.modelSpec().getVocabSize();
    while (has("input_ids_" + prompts.size())) {
      prompts.add(ids("input_ids_" + prompts.size()));
    }
    if (prompts.isEmpty()) {
      throw new CheckpointFormatException(
          path, "input_ids_0", "missing (expected: the first prompt)");
    }
    for (int i = 0; i < prompts.size() && has("greedy_" + i); i++) {
      greedy.add(ids("greedy_" + i));
    }
    // What bfloat16 and other arithmetic gave says how exact the reference is, and is no target.
    for (String name : file.tensors().names()) {
      if (name.startsWith("greedy_gap_") || name.matches("logits(_bfloat16)?_\\d+")) {
        asked.add(name);
      }
    }
    for (int i = 0; i < greedy.size(); i++) {
      asked.remove("greedy_" + i);
    }
  }

  Path path() {
    return file.path();
  }

  List<int[]> prompts() {
    return prompts;
  }

  /** Greedy continuations of the first prompts. */
  List<int[]> greedy() {
    return greedy;
  }

  /** Whether the logits of some positions alone are expected. */
  boolean hasPositions() {
    return has(POSITIONS + 0);
  }

  /**
   * The positions of a prompt whose logits are expected, rising.
   *
   * @throws CheckpointFormatException if there are none, or they are not the prompt's
   */
  int[] positions(int prompt) {
    return positions.computeIfAbsent(
        prompt,
        i -> {
          long[] values = longs(POSITIONS + i);
          for (int at = 0; at < values.length; at++) {
            long least = at == 0 ? 0 : values[at - 1] + 1;
            if (values[at] < least || values[at] >= prompts.get(i).length) {
              throw new CheckpointFormatException(
                  file.path(),
                  POSITIONS + i,
                  "position " + at + " is " + values[at] + " (expected: " + least + " to "
                      + (prompts.get(i).length - 1) + ", rising)");
            }
          }
          if (values.length == 0) {
            throw new CheckpointFormatException(
                file.path(), POSITIONS + i, "0 positions (expected: at least one)");
          }
          return Arrays.stream(values).mapToInt(Math::toIntExact).toArray();
        });
  }

  boolean has(String name) {
    return file.tensors().find(name).isPresent();
  }

  /** Says that a tensor was compared though it was not read here. */
  void compared(String name) {
    asked.add(name);
  }

  float[] floats(String name) {
    asked.add(name);
    return file.readFloat32(name);
  }

  long[] longs(String name) {
    asked.add(name);
    return file.readInt64(name);
  }

  byte[] bytes(String name) {
    asked.add(name);
    return file.readUint8(name);
  }

  /**
   * Experts of a token, in a tensor [tokens of a prompt, experts of a token].
   *
   * @throws CheckpointFormatException if it has another shape
   */
  int choices(String name, int prompt) {
    return anyOf(name, 1, prompts.get(prompt).length, ANY);
  }

  /**
   * Masks in a tensor [masks, queries, keys] of a prompt's tokens.
   *
   * @throws CheckpointFormatException if it has another shape
   */
  int planes(String name, int prompt) {
    return anyOf(name, 0, ANY, prompts.get(prompt).length, prompts.get(prompt).length);
  }

  /**
   * Requires one value for each of a prompt's tokens and its {@code choices}.
   *
   * @throws CheckpointFormatException if the tensor has another shape
   */
  void requireChoices(String name, int prompt, int choices) {
    if (choices(name, prompt) != choices) {
      throw badShape(name, prompts.get(prompt).length, choices);
    }
  }

  /** The dimension {@code free}, of a tensor whose others are as in {@code shape}. */
  private int anyOf(String name, int free, int... shape) {
    List<Long> found = file.tensors().get(name).shape();
    boolean same = found.size() == shape.length;
    for (int i = 0; same && i < shape.length; i++) {
      same = i == free ? found.get(i) > 0 : found.get(i) == shape[i];
    }
    if (!same) {
      throw badShape(name, shape);
    }
    return Math.toIntExact(found.get(free));
  }

  private CheckpointFormatException badShape(String name, int... shape) {
    return new CheckpointFormatException(
        file.path(),
        name,
        "shape: " + file.tensors().get(name).shape() + " (expected: "
            + Arrays.toString(shape).replace(String.valueOf(ANY), "any number") + ")");
  }

  /** Tensors of the file that nothing asked for. */
  List<String> rest() {
    return file.tensors().names().stream().filter(name -> !asked.contains(name)).toList();
  }

  /** Token ids that the model can take, in a number that its context can hold. */
  private int[] ids(String name) {
    long[] values = longs(name);
    if (values.length == 0 || values.length > maxPositions) {
      throw new CheckpointFormatException(
          file.path(),
          name,
          values.length + " tokens (expected: 1 to " + maxPositions + ", the model's context)");
    }
    int[] ids = new int[values.length];
    for (int i = 0; i < ids.length; i++) {
      if (values[i] < 0 || values[i] >= vocabSize) {
        throw new CheckpointFormatException(
            file.path(),
            name,
            "token " + i + " is " + values[i] + " (expected: 0 to " + (vocabSize - 1)
                + ", the model's vocabulary)");
      }
      ids[i] = (int) values[i];
    }
    return ids;
  }
}
