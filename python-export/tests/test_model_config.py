"""config.json and GGUF metadata against one another."""

import json
import unittest

import numpy as np

from tests.support import DENSE, FIXTURES, FolderTest
from sluice_export import gguf_config, layout, model_config
from sluice_export import gguf_format as gguf
from sluice_export.rope import RopeScaling


def _config(name):
  return json.loads((FIXTURES / name / "config.json").read_text())


class FromConfigTest(FolderTest):

  def test_fixtures(self):
    llama = model_config.from_config(_config("llama"))
    self.assertEqual((llama.rope_theta, llama.tie_word_embeddings), (500000.0, True))
    rope = model_config.from_config(_config("llama3_rope"))
    self.assertEqual(rope.rope_scaling, RopeScaling("llama3", 8.0, 64, 1.0, 4.0))
    self.assertEqual(rope.eos_token_ids, (2, 5, 7))
    mistral = model_config.from_config(_config("mistral"))
    self.assertEqual((mistral.sliding_window, mistral.head_dim, mistral.num_kv_heads), (8, 32, 1))
    qwen2 = model_config.from_config(_config("qwen2"))
    self.assertEqual((qwen2.sliding_window, qwen2.attention_bias, qwen2.head_dim),
                     (None, "qkv", 16))

  def test_config_written_and_read_again_means_the_same(self):
    for name in DENSE:
      with self.subTest(name):
        model = model_config.from_config(_config(name))
        self.assertEqual(model_config.from_config(model_config.to_config(model, "float32")), model)

  def test_new_spelling_means_the_same(self):
    old = _config("llama3_rope")
    new = dict(old)
    new["rope_parameters"] = {**new.pop("rope_scaling"), "rope_theta": new.pop("rope_theta")}
    new["dtype"] = new.pop("torch_dtype")
    self.assertEqual(model_config.from_config(new), model_config.from_config(old))

  def test_defaults_of_the_families(self):
    least = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
             "num_attention_heads": 32, "vocab_size": 256}
    llama = model_config.from_config({**least, "model_type": "llama"})
    self.assertEqual((llama.num_kv_heads, llama.head_dim, llama.rope_theta, llama.rms_norm_eps),
                     (32, 2, 10000.0, 1e-6))
    mistral = model_config.from_config({**least, "model_type": "mistral"})
    self.assertEqual((mistral.num_kv_heads, mistral.sliding_window), (8, 4096))
    self.assertEqual(model_config.from_config({**least, "model_type": "qwen3"}).head_dim, 128)

  def test_refusals(self):
    for change, words in (
        ({"model_type": "gpt_neox"}, ("gpt_neox", "llama, mistral, qwen2, qwen3")),
        ({"model_type": None}, ("model_type",)),
        ({"hidden_size": -1}, ("hidden_size: -1",)),
        ({"hidden_size": 1 << 40}, ("hidden_size",)),
        ({"hidden_size": 64.0}, ("hidden_size: 64.0",)),
        ({"vocab_size": True}, ("vocab_size",)),
        ({"num_hidden_layers": 2_000_000_000}, ("at most 10000",)),
        ({"num_hidden_layers": "3"}, ("num_hidden_layers",)),
        ({"num_key_value_heads": 3}, ("num_key_value_heads: 3", "divisor of 4")),
        ({"num_attention_heads": 0}, ("num_attention_heads: 0",)),
        ({"hidden_act": "gelu"}, ("hidden_act: gelu", "silu")),
        ({"rms_norm_eps": 0}, ("rms_norm_eps",)),
        ({"rms_norm_eps": "tiny"}, ("rms_norm_eps",)),
        ({"tie_word_embeddings": 1}, ("tie_word_embeddings",)),
        ({"quantization_config": {"bits": 4}}, ("quantization_config",)),
        ({"partial_rotary_factor": 0.5}, ("partial_rotary_factor",)),
        ({"rope_interleaved": True}, ("rope_interleaved",)),
        ({"num_local_experts": 8}, ("num_local_experts",)),
        ({"eos_token_id": [2, -1]}, ("eos_token_id: -1",)),
        ({"bos_token_id": "1"}, ("bos_token_id",)),
        ({"layer_types": ["sliding_attention"]}, ("layer_types",)),
        ({"layer_types": 3}, ("layer_types",)),
    ):
      with self.subTest(change):
        self.assert_refused(words, model_config.from_config, {**_config("llama"), **change})
    self.assert_refused("use_sliding_window", model_config.from_config,
                        {**_config("qwen2"), "use_sliding_window": True})


class GgufMetadataTest(FolderTest):

  def test_keys(self):
    metadata = gguf_config.to_metadata(model_config.from_config(_config("mistral")), "m")
    values = {key: value.value for key, value in metadata.items()}
    self.assertEqual(values["general.architecture"], "llama")
    self.assertEqual(values["llama.attention.sliding_window"], 8)
    self.assertEqual(values["llama.attention.head_count_kv"], 1)
    self.assertEqual(values["llama.rope.dimension_count"], 32)
    self.assertEqual(values["llama.attention.key_length"], 32)
    self.assertEqual(metadata["llama.attention.layer_norm_rms_epsilon"].type, gguf.FLOAT32)
    self.assertNotIn("llama.rope.scaling.type", values)

  def test_llama3_scaling_is_a_tensor(self):
    model = model_config.from_config(_config("llama3_rope"))
    metadata = gguf_config.to_metadata(model, "m")
    self.assertFalse([key for key in metadata if "rope.scaling" in key])
    tensor, = gguf_config.extra_tensors(model)
    self.assertEqual((tensor.name, tensor.dtype, tensor.shape), ("rope_freqs.weight", "F32", (8,)))

  def test_linear_and_yarn_scaling_are_metadata(self):
    for scaling in ({"rope_type": "linear", "factor": 4.0},
                    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}):
      model = model_config.from_config({**_config("mistral"), "rope_scaling": scaling})
      values = {key: value.value for key, value in gguf_config.to_metadata(model, "m").items()}
      self.assertEqual(values["llama.rope.scaling.type"], scaling["rope_type"])
      self.assertEqual(values["llama.rope.scaling.factor"], 4.0)
      self.assertEqual(gguf_config.extra_tensors(model), [])

  def test_dynamic_scaling_is_refused(self):
    model = model_config.from_config(
        {**_config("mistral"), "rope_scaling": {"rope_type": "dynamic", "factor": 2.0}})
    self.assert_refused(("dynamic", "folder"), gguf_config.to_metadata, model, "m")

  def test_three_eos_ids_have_keys_and_a_fourth_is_reported(self):
    model = model_config.from_config({**_config("llama"), "eos_token_id": [2, 5, 7, 9]})
    metadata, dropped = gguf_config.token_id_metadata(model)
    self.assertEqual([metadata[f"tokenizer.ggml.{key}_token_id"].value
                      for key in ("eos", "eot", "eom")], [2, 5, 7])
    self.assertEqual(dropped, (9,))


class LayoutTest(FolderTest):

  def test_rows_by_hand(self):
    rows = np.arange(8).reshape(8, 1)  # two heads of four rows
    pairs = layout.to_gguf_rows(2)(rows)
    self.assertEqual(pairs[:, 0].tolist(), [0, 2, 1, 3, 4, 6, 5, 7])
    self.assertEqual(layout.from_gguf_rows(2)(pairs)[:, 0].tolist(), list(range(8)))

  def test_only_llama_and_mistral_are_permuted(self):
    for name in DENSE:
      model = model_config.from_config(_config(name))
      permuted = [slot.hf_name for slot in layout.slots(model) if slot.rotary_heads]
      self.assertEqual(bool(permuted), name != "qwen2")
      self.assertTrue(all("q_proj" in n or "k_proj" in n for n in permuted))

  def test_bias_of_llama(self):
    model = model_config.from_config({**_config("llama"), "attention_bias": True, "mlp_bias": True})
    biases = [slot.gguf_name for slot in layout.slots(model)
              if slot.gguf_name.startswith("blk.0.") and slot.gguf_name.endswith(".bias")]
    self.assertEqual(biases, [f"blk.0.{name}.bias" for name in (
        "attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")])


if __name__ == "__main__":
  unittest.main()
