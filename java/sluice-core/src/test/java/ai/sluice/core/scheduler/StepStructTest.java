package ai.sluice.core.scheduler;

import static org.junit.jupiter.api.Assertions.assertEquals;

import ai.sluice.jni.NativeLibrary;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The offsets that the step message is written at, against the compiler's. */
class StepStructTest {
  @ParameterizedTest
  @CsvSource({
    "sluice_step_header, 256", "sluice_step_result, 64", "sluice_state_op, 16",
    "sluice_block_update, 16", "sluice_count_update, 16", "sluice_output_row, 128",
    "sluice_logit_bias, 8", "sluice_rope_update, 24"
  })
  void size(String struct, int bytes) {
    assertEquals(bytes, NativeLibrary.sizeOf(struct));
  }

  @ParameterizedTest
  @CsvSource({
    "sluice_step_header, abi_version, 4", "sluice_step_header, step_id, 8",
    "sluice_step_header, used_bytes, 16", "sluice_step_header, plan_hash, 24",
    "sluice_step_header, flags, 32", "sluice_step_header, counts, 40",
    "sluice_step_header, reserved, 112", "sluice_step_result, device_micros, 16",
    "sluice_output_row, token_index, 0", "sluice_output_row, kind, 4",
    "sluice_output_row, head, 8", "sluice_output_row, flags, 12", "sluice_output_row, seed, 16",
    "sluice_output_row, draw_position, 24", "sluice_output_row, temperature, 32",
    "sluice_output_row, top_p, 36", "sluice_output_row, min_p, 40", "sluice_output_row, top_k, 44",
    "sluice_output_row, repetition_penalty, 48", "sluice_output_row, presence_penalty, 52",
    "sluice_output_row, frequency_penalty, 56", "sluice_output_row, draft_len, 60",
    "sluice_output_row, logit_bias_begin, 64", "sluice_output_row, logit_bias_count, 68",
    "sluice_output_row, target_begin, 72", "sluice_output_row, target_count, 76",
    "sluice_output_row, top_n, 80", "sluice_output_row, mask_index, 84",
    "sluice_state_op, kind, 0", "sluice_state_op, target, 12", "sluice_block_update, block, 12",
    "sluice_count_update, prompt_delta, 8", "sluice_count_update, output_delta, 12",
    "sluice_logit_bias, bias, 4", "sluice_rope_update, inv_freq_begin, 8",
    "sluice_rope_update, attention_scale, 16"
  })
  void offset(String struct, String field, int bytes) {
    assertEquals(bytes, NativeLibrary.offsetOf(struct, field));
  }
}
