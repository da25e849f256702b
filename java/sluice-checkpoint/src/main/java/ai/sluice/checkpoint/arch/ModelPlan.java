package ai.sluice.checkpoint.arch;

import ai.sluice.checkpoint.DynamicRope;
import ai.sluice.proto.ModelSpec;
import ai.sluice.proto.WeightDestination;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * What a family makes of a config: the model, and where each tensor goes.
 *
 * @param spec the model, for the engine
 * @param bindings every tensor that the model needs, in the order of the layers
 * @param ignorable tensors that a checkpoint may hold besides and that change nothing
 * @param dynamicRope how RoPE depends on a prompt's length, if it does
 * @param notes settings that were passed over
 */
public record ModelPlan(
    ModelSpec spec,
    List<Binding> bindings,
    Set<String> ignorable,
    Optional<DynamicRope> dynamicRope,
    List<String> notes) {

  /** Copies the collections. */
  public ModelPlan {
    bindings = List.copyOf(bindings);
    ignorable = Set.copyOf(ignorable);
    notes = List.copyOf(notes);
  }

  /**
   * One tensor and its place in the model.
   *
   * @param tensor its Hugging Face name
   * @param shape its shape, outermost first
   * @param destination the slot that it fills
   */
  public record Binding(String tensor, List<Long> shape, WeightDestination destination) {
    /** Copies the shape. */
    public Binding {
      shape = List.copyOf(shape);
    }
  }
}
