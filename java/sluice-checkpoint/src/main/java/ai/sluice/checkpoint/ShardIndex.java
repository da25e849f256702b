package ai.sluice.checkpoint;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.checkpoint.io.PositionalFile;
import ai.sluice.checkpoint.io.Quote;
import ai.sluice.checkpoint.io.StrictJson;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.google.common.collect.ImmutableSet;
import com.google.common.collect.Sets;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeSet;

/**
 * The weights of a Hugging Face folder: {@code model.safetensors}, or the shards that {@code
 * model.safetensors.index.json} names.
 *
 * <p>A shard's name must be plain, its file must lie in the folder (or in the blobs of the download
 * cache that the folder is a snapshot of), and the shards together must hold every tensor of the
 * index exactly once and no other.
 */
final class ShardIndex {
  static final String SINGLE_FILE = "model.safetensors";
  static final String INDEX_FILE = "model.safetensors.index.json";
  private static final String SUFFIX = ".safetensors";

  private ShardIndex() {}

  /** Whether the folder has safetensors weights. */
  static boolean isIn(Path folder) {
    return Files.exists(folder.resolve(SINGLE_FILE)) || Files.exists(folder.resolve(INDEX_FILE));
  }

  /**
   * The tensors of the folder's weight files.
   *
   * @throws CheckpointFormatException if there are none or they break a rule
   */
  static TensorDirectory open(Path folder) {
    Path index = folder.resolve(INDEX_FILE);
    Path single = folder.resolve(SINGLE_FILE);
    if (Files.exists(single)) {
      return SafetensorsFile.open(single).tensors();
    }
    if (Files.exists(index)) {
      return openShards(folder, index);
    }
    throw new CheckpointFormatException(
        folder,
        null,
        "holds neither "
            + SINGLE_FILE
            + " nor "
            + INDEX_FILE
            + " (expected: one of them; weights in .bin or .pt files are not read: convert them)");
  }

  private static TensorDirectory openShards(Path folder, Path index) {
    Map<String, String> fileOfTensor = readWeightMap(index);
    Map<String, TensorInfo> merged = new LinkedHashMap<>();
    for (String shard : new TreeSet<>(fileOfTensor.values())) {
      Path file = resolve(folder, index, shard);
      for (TensorInfo tensor : SafetensorsFile.open(file).tensors().tensors()) {
        String expected = fileOfTensor.get(tensor.name());
        if (!shard.equals(expected)) {
          throw new CheckpointFormatException(
              file,
              Quote.clip(tensor.name()),
              expected == null
                  ? "not listed in " + INDEX_FILE + " (expected: only tensors that it lists)"
                  : INDEX_FILE
                      + " says "
                      + Quote.clip(expected)
                      + " (expected: each tensor in one"
                      + " file)");
        }
        merged.put(tensor.name(), tensor);
        if (merged.size() > SafetensorsHeader.MAX_TENSORS) {
          throw new CheckpointFormatException(
              index, null, "more than " + SafetensorsHeader.MAX_TENSORS + " tensors");
        }
      }
    }
    for (String missing : Sets.difference(fileOfTensor.keySet(), merged.keySet())) {
      throw new CheckpointFormatException(
          folder.resolve(String.valueOf(fileOfTensor.get(missing))),
          Quote.clip(missing),
          "is not in this file (expected: there, by " + INDEX_FILE + ")");
    }
    return new TensorDirectory(folder, merged);
  }

  private static Map<String, String> readWeightMap(Path index) {
    JsonNode map = StrictJson.readObject(index).get("weight_map");
    if (!(map instanceof ObjectNode object)) {
      throw new CheckpointFormatException(
          index,
          "weight_map",
          (map == null ? "missing" : "is a JSON " + StrictJson.kind(map))
              + " (expected: an object from tensor name to file name)");
    }
    Map<String, String> fileOfTensor = new LinkedHashMap<>();
    for (Map.Entry<String, JsonNode> entry : object.properties()) {
      if (!entry.getValue().isTextual()) {
        throw new CheckpointFormatException(
            index,
            Quote.clip(entry.getKey()),
            "is a JSON " + StrictJson.kind(entry.getValue()) + " (expected: a file name)");
      }
      fileOfTensor.put(entry.getKey(), entry.getValue().textValue());
    }
    if (fileOfTensor.isEmpty()) {
      throw new CheckpointFormatException(
          index, "weight_map", "is empty (expected: at least one tensor)");
    }
    return fileOfTensor;
  }

  private static Path resolve(Path folder, Path index, String shard) {
    boolean plain =
        shard.endsWith(SUFFIX)
            && shard.length() > SUFFIX.length()
            && shard.length() <= 255
            && shard.chars().allMatch(c -> c > ' ' && c < 127 && "/\\:".indexOf(c) < 0)
            && !shard.startsWith(".");
    if (!plain) {
      throw new CheckpointFormatException(
          index,
          "weight_map",
          "file name: "
              + Quote.clip(shard)
              + " (expected: a plain name in the same folder that"
              + " ends in "
              + SUFFIX
              + ")");
    }
    Path file = folder.resolve(shard);
    PositionalFile.requireRegularFile(file);
    try {
      Path real = file.toRealPath();
      if (allowedFolders(folder.toRealPath()).stream().noneMatch(real::startsWith)) {
        throw new CheckpointFormatException(
            file,
            null,
            "is a link that leaves the folder, to "
                + real
                + " (expected: a file in the folder; copy it there)");
      }
    } catch (IOException e) {
      throw PositionalFile.unreadable(file, e);
    }
    return file;
  }

  /** The folder itself and, for a snapshot in a download cache, the cache's blobs. */
  private static ImmutableSet<Path> allowedFolders(Path folder) {
    Path parent = folder.getParent();
    if (parent != null && parent.endsWith("snapshots") && parent.getParent() != null) {
      return ImmutableSet.of(folder, parent.getParent().resolve("blobs"));
    }
    return ImmutableSet.of(folder);
  }
}
