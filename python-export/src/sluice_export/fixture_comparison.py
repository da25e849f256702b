"""PyTorch's bfloat16 beside the expected outputs of a parity fixture.

In bfloat16 the nearest two experts of a router change places, and a bound for the logits of such a
model says nothing unless the choices are given. Here PyTorch gets the float64 run's, as an engine
does, so that its error is a measure for the engine's.
"""

import shutil

import numpy as np

from sluice_export import hf_folder, safetensors_io, strict_json
from sluice_export.real_checkpoints import CheckpointReport, Trace, runner_of
from sluice_export.reference.weights import Weights
from sluice_export.tensor import from_array

_EXPECTED = "expected.safetensors"
# Made by this package, in formats or families that transformers does not read as they are.
_OWN = ("deepseek", "deepseek_v3_fp8", "gpt_oss_mxfp4", "gpt_oss_gguf", "qwen3")


def make_comparison(fixture, folder, device, adaptive_reference):
  """Copies a fixture, with an expected.safetensors of its own.

  Args:
    fixture: folder of a parity fixture.
    folder: where; must not be there.
    device: where torch computes.
    adaptive_reference: reference_model.py of the fixture adaptive_moe.

  Returns:
    CheckpointReport.
  """
  import torch
  folder.mkdir(parents=True)
  for path in fixture.iterdir():
    if path.name != _EXPECTED:
      shutil.copyfile(path, folder / path.name)
  expected = {tensor.name: tensor.load()
              for tensor in safetensors_io.read_file(fixture / _EXPECTED)}
  weights = fixture
  if fixture.name in _OWN:
    weights = folder / "decoded"
    weights.mkdir()
    # The GGUF file holds the model of the other one.
    settings, plain = for_transformers(fixture.with_name(fixture.name.replace("_gguf", "_mxfp4")))
    hf_folder.write(weights, settings, [from_array(key, "F32", values)
                                        for key, values in plain.items()], 1 << 30)
  settings = strict_json.read_object(weights / "config.json")
  runner = runner_of(torch, weights, settings, device, adaptive_reference)
  runner.load("bfloat16")
  chooses = any(name.startswith("router_idx_0_") for name in expected)
  report = CheckpointReport(folder, [])
  tensors = []
  number = 0
  # Choices are expected of the first prompt alone.
  while f"input_ids_{number}" in expected and (number == 0 or not chooses):
    ids = expected[f"input_ids_{number}"]
    runner.remember(number, _decisions(expected, number))
    logits = runner.replayed(number, ids.tolist())
    oracle = expected[f"logits64_{number}"]
    report.lengths.append(len(ids))
    report.errors.append(float(np.linalg.norm(logits - oracle) / np.linalg.norm(oracle)))
    tensors += [from_array(f"input_ids_{number}", "I64", ids),
                from_array(f"positions_{number}", "I64", np.arange(len(ids))),
                from_array(f"logits64_{number}", "F32", oracle),
                from_array(f"logits_bfloat16_{number}", "F32", logits)]
    number += 1
  for name, values in expected.items():
    if name.startswith(("router_idx_0_", "router_weight_0_", "attention_keep_0_")):
      kind = {"i": "I64", "f": "F32", "u": "U8"}[values.dtype.kind]
      tensors.append(from_array(name, kind, values))
  runner.close()
  with open(folder / _EXPECTED, "wb") as file:
    safetensors_io.write_file(file, tensors)
  return report


def _decisions(expected, number):
  def of(kind, layer):
    return expected.get(f"{kind}_{number}_{layer}")

  layers = range(64)
  return Trace(None,
               {layer: (of("router_idx", layer), of("router_weight", layer))
                for layer in layers if of("router_idx", layer) is not None},
               {layer: of("attention_keep", layer) for layer in layers
                if of("attention_keep", layer) is not None})


def for_transformers(fixture):
  """Returns a fixture of this package as (config, float64 weights by name) that transformers reads.

  Its weights are decoded, extra layers for the prediction of several tokens left out.
  """
  settings = strict_json.read_object(fixture / "config.json")
  tensors = safetensors_io.read_folder(fixture)
  prediction = f"model.layers.{settings['num_hidden_layers']}."
  tensors = [tensor for tensor in tensors if not tensor.name.startswith(prediction)]
  weights = Weights(tensors, settings)
  settings.pop("quantization_config", None)
  settings.pop("auto_map", None)
  plain = {}
  for tensor in tensors:
    if tensor.name.endswith(("_scale_inv", "_scales")):
      continue
    blocks = tensor.name.endswith("_blocks")
    name = tensor.name[:-len("_blocks")] if blocks else tensor.name
    # Blocks are [experts, outputs, inputs].
    plain[name] = (np.ascontiguousarray(weights[name].transpose(0, 2, 1)) if blocks
                   else weights[name])
  if settings["model_type"] == "deepseek":
    return _in_the_clothes_of_qwen2_moe(settings, plain)
  return settings, plain


def _in_the_clothes_of_qwen2_moe(settings, plain):
  """transformers lacks the family `deepseek`, but its Qwen2-MoE computes the same.

  That is: with zero biases, and with shared experts whose gate is sigmoid(0) = 1/2 and whose output
  is doubled for it.
  """
  dressed = {}
  for name, values in plain.items():
    if ".shared_experts." in name:
      dressed[name.replace(".shared_experts.", ".shared_expert.")] = (
          2 * values if "down_proj" in name else values)
      gate = name.split(".shared_experts.")[0] + ".shared_expert_gate.weight"
      dressed[gate] = np.zeros((1, settings["hidden_size"]))
      continue
    dressed[name] = values
    if name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight")):
      dressed[name[:-len("weight")] + "bias"] = np.zeros(len(values))
  inner = settings["moe_intermediate_size"]
  kept = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "rope_theta",
          "num_attention_heads", "num_key_value_heads", "rms_norm_eps", "num_experts_per_tok",
          "norm_topk_prob", "tie_word_embeddings", "hidden_act", "max_position_embeddings")
  return {
      **{key: settings[key] for key in kept},
      "model_type": "qwen2_moe", "architectures": ["Qwen2MoeForCausalLM"],
      "num_experts": settings["n_routed_experts"], "moe_intermediate_size": inner,
      "shared_expert_intermediate_size": inner * settings["n_shared_experts"],
      "decoder_sparse_step": 1, "mlp_only_layers": [0], "use_sliding_window": False,
  }, dressed
