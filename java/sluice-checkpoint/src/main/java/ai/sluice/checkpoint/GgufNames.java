package ai.sluice.checkpoint;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.checkpoint.io.Quote;
import com.google.common.collect.ImmutableBiMap;
import com.google.common.collect.ImmutableMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * GGUF's tensor names and the Hugging Face names for the same tensors, so that a family knows one
 * set of names only. A name that is not known stays as it is, and is then an extra tensor.
 */
final class GgufNames {
  private static final Pattern GGUF_BLOCK = Pattern.compile("blk\\.(\\d{1,5})\\.(.+)");
  private static final Pattern HF_LAYER = Pattern.compile("model\\.layers\\.(\\d{1,5})\\.(.+)");

  private static final ImmutableBiMap<String, String> MODEL =
      ImmutableBiMap.of(
          "token_embd.weight", "model.embed_tokens.weight",
          "output_norm.weight", "model.norm.weight",
          "output.weight", "lm_head.weight");

  private static final ImmutableBiMap<String, String> BLOCK =
      ImmutableBiMap.<String, String>builder()
          .put("attn_norm.weight", "input_layernorm.weight")
          .put("ffn_norm.weight", "post_attention_layernorm.weight")
          .put("attn_q.weight", "self_attn.q_proj.weight")
          .put("attn_q.bias", "self_attn.q_proj.bias")
          .put("attn_k.weight", "self_attn.k_proj.weight")
          .put("attn_k.bias", "self_attn.k_proj.bias")
          .put("attn_v.weight", "self_attn.v_proj.weight")
          .put("attn_v.bias", "self_attn.v_proj.bias")
          .put("attn_output.weight", "self_attn.o_proj.weight")
          .put("attn_output.bias", "self_attn.o_proj.bias")
          .put("attn_q_norm.weight", "self_attn.q_norm.weight")
          .put("attn_k_norm.weight", "self_attn.k_norm.weight")
          .put("ffn_gate.weight", "mlp.gate_proj.weight")
          .put("ffn_gate.bias", "mlp.gate_proj.bias")
          .put("ffn_up.weight", "mlp.up_proj.weight")
          .put("ffn_up.bias", "mlp.up_proj.bias")
          .put("ffn_down.weight", "mlp.down_proj.weight")
          .put("ffn_down.bias", "mlp.down_proj.bias")
          .put("attn_sinks.weight", "self_attn.sinks")
          .put("attn_q_a.weight", "self_attn.q_a_proj.weight")
          .put("attn_q_a_norm.weight", "self_attn.q_a_layernorm.weight")
          .put("attn_q_b.weight", "self_attn.q_b_proj.weight")
          .put("attn_kv_a_mqa.weight", "self_attn.kv_a_proj_with_mqa.weight")
          .put("attn_kv_a_norm.weight", "self_attn.kv_a_layernorm.weight")
          .put("attn_kv_b.weight", "self_attn.kv_b_proj.weight")
          .put("attn_k_b.weight", "self_attn.k_b_proj.weight")
          .put("attn_v_b.weight", "self_attn.v_b_proj.weight")
          .put("ffn_gate_inp.weight", "mlp.gate.weight")
          .put("ffn_gate_inp.bias", "mlp.gate.bias")
          .put("exp_probs_b.bias", "mlp.gate.e_score_correction_bias")
          .put("ffn_gate_exps.weight", "mlp.experts.gate_proj.weight")
          .put("ffn_gate_exps.bias", "mlp.experts.gate_proj.bias")
          .put("ffn_up_exps.weight", "mlp.experts.up_proj.weight")
          .put("ffn_up_exps.bias", "mlp.experts.up_proj.bias")
          .put("ffn_down_exps.weight", "mlp.experts.down_proj.weight")
          .put("ffn_down_exps.bias", "mlp.experts.down_proj.bias")
          .put("ffn_gate_shexp.weight", "mlp.shared_experts.gate_proj.weight")
          .put("ffn_up_shexp.weight", "mlp.shared_experts.up_proj.weight")
          .put("ffn_down_shexp.weight", "mlp.shared_experts.down_proj.weight")
          .buildOrThrow();

  // What an architecture calls otherwise.
  private static final ImmutableMap<String, ImmutableMap<String, String>> RENAMED =
      ImmutableMap.of("gpt-oss", ImmutableMap.of("ffn_norm.weight", "post_attention_norm.weight"));

  private final ImmutableBiMap<String, String> block;

  private GgufNames(ImmutableBiMap<String, String> block) {
    this.block = block;
  }

  /** The names of files of this architecture. */
  static GgufNames of(String architecture) {
    Map<String, String> renamed = RENAMED.getOrDefault(architecture, ImmutableMap.of());
    ImmutableBiMap.Builder<String, String> names = ImmutableBiMap.builder();
    BLOCK.forEach((gguf, name) -> names.put(renamed.getOrDefault(gguf, gguf), name));
    return new GgufNames(names.buildOrThrow());
  }

  /** The Hugging Face name of a GGUF tensor. */
  String toHuggingFace(String gguf) {
    Matcher layer = GGUF_BLOCK.matcher(gguf);
    if (layer.matches()) {
      String rest = block.get(layer.group(2));
      return rest == null ? gguf : "model.layers." + layer.group(1) + "." + rest;
    }
    return MODEL.getOrDefault(gguf, gguf);
  }

  /** The GGUF name of a tensor with a Hugging Face name. */
  String toGguf(String huggingFace) {
    Matcher layer = HF_LAYER.matcher(huggingFace);
    if (layer.matches()) {
      String rest = block.inverse().get(layer.group(2));
      return rest == null ? huggingFace : "blk." + layer.group(1) + "." + rest;
    }
    return MODEL.inverse().getOrDefault(huggingFace, huggingFace);
  }

  /**
   * The same tensors by their Hugging Face names; each keeps its own name for messages. Left out is
   * the tensor that {@link GgufSettings} has turned into a setting.
   */
  TensorDirectory rename(TensorDirectory gguf) {
    Map<String, TensorInfo> renamed = new LinkedHashMap<>();
    for (TensorInfo tensor : gguf.tensors()) {
      if (tensor.name().equals(GgufSettings.ROPE_FREQUENCIES)) {
        continue;
      }
      TensorInfo other = renamed.put(toHuggingFace(tensor.name()), tensor);
      if (other != null) {
        throw new CheckpointFormatException(
            tensor.file(),
            Quote.clip(tensor.name()),
            "means the same tensor as " + Quote.clip(other.name()) + " (expected: one of them)");
      }
    }
    return new TensorDirectory(gguf.source(), renamed);
  }
}
