package ai.sluice.core;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.checkpoint.Checkpoint;
import ai.sluice.checkpoint.SafetensorsFile;
import ai.sluice.checkpoint.TensorInfo;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * The outputs that a model must produce, from expected.safetensors. Remembers what was asked for,
 * so that nothing in the file is passed over in silence. Not thread-safe.
 */
final class ExpectedOutputs {
  private final SafetensorsFile file;
  private final int maxPositions;
  private final int vocabSize;
  private final List<int[]> prompts = new ArrayList<>();
  private final List<int[]> greedy = new ArrayList<>();
  private final Set<String> asked = new HashSet<>();

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

  List<int[]> prompts() {
    return prompts;
  }

  /** Greedy continuations of the first prompts. */
  List<int[]> greedy() {
    return greedy;
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

  /** A dimension of a tensor of {@code rank} dimensions. */
  int dimension(String name, int rank, int index) {
    TensorInfo tensor = file.tensors().get(name);
    if (tensor.shape().size() != rank) {
      throw new CheckpointFormatException(
          file.path(), name, "shape: " + tensor.shape() + " (expected: " + rank + " dimensions)");
    }
    return Math.toIntExact(tensor.shape().get(index));
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
