package ai.sluice.checkpoint;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.Sampling;
import ai.sluice.checkpoint.arch.Architectures;
import ai.sluice.checkpoint.arch.Binding;
import ai.sluice.checkpoint.arch.ModelConfig;
import ai.sluice.checkpoint.arch.ModelPlan;
import ai.sluice.checkpoint.io.Quote;
import ai.sluice.checkpoint.io.StrictJson;
import ai.sluice.proto.Slot;
import ai.sluice.proto.SourceKind;
import ai.sluice.proto.WeightSource;
import ai.sluice.proto.WeightTransfer;
import ai.sluice.proto.WeightTransferList;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.google.common.collect.ImmutableMap;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A model of true sizes with random weights, which the engine makes itself: nothing is stored
 * anywhere. The weights keep activations of ordinary size through all layers, and routers spread
 * tokens over their experts, so that measurements see what a trained model's would.
 */
final class RandomCheckpoint {
  private static final long SEED = 20_240_229;

  private RandomCheckpoint() {}

  /**
   * A shape that is known here, or that of a folder's config.json.
   *
   * @throws InvalidRequestException if it is neither
   */
  static CheckpointParts read(String shape) {
    Optional<ModelShape> known = ModelShape.find(shape);
    if (known.isPresent()) {
      Path path = Path.of(shape);
      return of(path, ModelConfig.of(path, config(known.get(), path), Map.of()));
    }
    Path file = configFile(shape);
    Path folder = file.toAbsolutePath().getParent();
    return of(folder, ModelConfig.of(file, StrictJson.readObject(file), Map.of()));
  }

  private static Path configFile(String shape) {
    try {
      Path file = Path.of(shape).resolve(HuggingFaceFolder.CONFIG);
      if (Files.isRegularFile(file)) {
        return file;
      }
    } catch (InvalidPathException e) {
      // No path of this system: the message below fits.
    }
    throw new InvalidRequestException(
        "shape: " + Quote.clip(shape) + " (expected: " + String.join(", ", ModelShape.labels())
            + ", or a folder with " + HuggingFaceFolder.CONFIG + ")");
  }

  /** The shape's settings, spelled as config.json does. */
  private static ObjectNode config(ModelShape shape, Path path) {
    String resource = "shapes/" + shape.label() + ".json";
    try (InputStream in = ModelShape.class.getResourceAsStream(resource)) {
      if (in == null) {
        throw new IllegalStateException(resource + ": not in this build (a defect of Sluice)");
      }
      return StrictJson.readObject(path, in.readAllBytes());
    } catch (IOException e) {
      throw new UncheckedIOException(resource, e);
    }
  }

  static CheckpointParts of(Path path, ModelConfig config) {
    ModelPlan plan = Architectures.plan(config);
    WeightTransferList.Builder list = WeightTransferList.newBuilder();
    ImmutableMap.Builder<String, TensorInfo> tensors = ImmutableMap.builder();
    List<TensorInfo> used = new ArrayList<>();
    for (Binding binding : plan.bindings()) {
      List<Long> shape = values(binding);
      long elements = shape.stream().reduce(1L, (a, b) -> a * b);
      TensorInfo tensor =
          new TensorInfo(
              binding.tensor(), path, 0, DType.BF16.byteLength(elements), DType.BF16, shape);
      tensors.put(tensor.name(), tensor);
      used.add(tensor);
      list.addTransfers(
          WeightTransfer.newBuilder()
              .setName(binding.tensor())
              .setDestination(binding.destination())
              .setSource(
                  WeightSource.newBuilder()
                      .setKind(SourceKind.RANDOM_NORMAL)
                      .addAllShape(shape)
                      .setRandomSeed(SEED)
                      .setRandomStd(deviation(binding.destination().getSlot(), shape))));
    }
    return new CheckpointParts(
        path,
        CheckpointFormat.RANDOM,
        Optional.of(path.toString()),
        plan,
        new TensorDirectory(path, tensors.buildKeepingLast()),
        new WeightBinder.Bound(list.build(), used, List.of()),
        Sampling.unset(),
        Optional.empty(),
        List.of(),
        List.of(),
        Optional.empty(),
        Optional.empty(),
        Optional.empty(),
        ImmutableMap.of(),
        plan.notes());
  }

  /** Extents of the values that a binding takes, outputs before inputs. */
  private static List<Long> values(Binding binding) {
    if (binding.scales().isPresent()) {
      throw new IllegalStateException(
          binding.tensor() + ": packed with scales (expected: plain, for random weights)");
    }
    if (binding.view().isEmpty()) {
      return binding.shape();
    }
    Binding.View view = binding.view().get();
    List<Long> shape = new ArrayList<>(view.shape());
    if (view.transposed()) {
      int last = shape.size() - 1;
      shape.set(last, view.shape().get(last - 1));
      shape.set(last - 1, view.shape().get(last));
    }
    return shape;
  }

  /**
   * A product keeps the size of its inputs; norms weigh by about one, and what is added is small.
   */
  private static double deviation(Slot slot, List<Long> shape) {
    if (slot.name().endsWith("_NORM")) {
      return 1;
    }
    boolean vector = slot.name().endsWith("_BIAS") || slot == Slot.SINKS || shape.size() == 1;
    if (vector || slot == Slot.RELATIVE_POSITION || slot == Slot.ROUTER_NOISE) {
      return 0.02;
    }
    return slot == Slot.EMBED_TOKENS ? 1 : 1 / Math.sqrt(shape.get(shape.size() - 1));
  }
}
