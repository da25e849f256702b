package ai.sluice.checkpoint.arch;

import ai.sluice.checkpoint.DynamicRope;
import ai.sluice.proto.ModelSpec;
import com.google.common.collect.ImmutableList;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * What a family makes of a config: the model, and where each tensor goes.
 *
 * @param spec the model, for the engine
 * @param weights everything that the model needs, in the order of the layers
 * @param ignorable tensors that a checkpoint may hold besides and that change nothing
 * @param setAside layers that a checkpoint may hold besides and that the model does not run
 * @param scaleBlock how tensors of 8-bit floats are scaled, if the checkpoint says that it has such
 * @param dynamicRope how RoPE depends on a prompt's length, if it does
 * @param notes settings that were passed over
 */
public record ModelPlan(
    ModelSpec spec,
    List<Choice> weights,
    Set<String> ignorable,
    List<SetAside> setAside,
    Optional<ScaleBlock> scaleBlock,
    Optional<DynamicRope> dynamicRope,
    List<String> notes) {

  /** Copies the collections. */
  public ModelPlan {
    weights = List.copyOf(weights);
    ignorable = Set.copyOf(ignorable);
    setAside = List.copyOf(setAside);
    notes = List.copyOf(notes);
  }

  /** Every tensor of the model where each weight is stored in its first form. */
  public List<Binding> bindings() {
    ImmutableList.Builder<Binding> all = ImmutableList.builder();
    weights.forEach(choice -> all.addAll(choice.forms().get(0)));
    return all.build();
  }

  /**
   * Weights that writers store in more than one form: expert by expert, or stacked. The form whose
   * first tensor the checkpoint has counts, else the first. A form makes its bindings when it is
   * walked through, so that a config that names a million experts costs nothing by itself.
   *
   * @param forms at least one
   */
  public record Choice(List<Iterable<Binding>> forms) {
    /** Copies the list. */
    public Choice {
      forms = List.copyOf(forms);
    }
  }

  /**
   * A layer beyond the model's own.
   *
   * @param prefix what its tensors' names begin with
   * @param mark the rest of the name of a tensor that only such a layer has
   * @param what what it is, for the note
   */
  public record SetAside(String prefix, String mark, String what) {}

  /** The extent of the block of a matrix that shares one scale. */
  public record ScaleBlock(int rows, int columns) {}
}
