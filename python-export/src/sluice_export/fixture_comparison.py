"""PyTorch's bfloat16 beside the expected outputs of a parity fixture.

In bfloat16 the nearest two experts of a router change places, and a bound for the logits of such a
model says nothing unless the choices are given. Here PyTorch gets the float64 run's, as an engine
does, so that its error is a measure for the engine's.
"""

import shutil

import numpy as np

from sluice_export import hf_folder, safetensors_io, strict_json
from sluice_export.errors import ExportError
from sluice_export.real_checkpoints import CheckpointReport, Trace, runner_of
from sluice_export.reference.weights import Weights
from sluice_export.tensor import from_array

_EXPECTED = "expected.safetensors"
# Weights of these formats are decoded for PyTorch; gpt_oss_gguf is the model of gpt_oss_mxfp4.
_DECODED = ("deepseek_v3_fp8", "gpt_oss_mxfp4", "gpt_oss_gguf")
# transformers has no such family.
_WITHOUT_PYTORCH = ("deepseek",)


def make_comparison(fixture, folder, device, adaptive_reference):
  """Copies a fixture, with an expected.safetensors of its own.

  Args:
    fixture: folder of a parity fixture.
    folder: where; must not be there.
    device: where torch computes.
    adaptive_reference: reference_model.py of the fixture adaptive_moe.

  Returns:
    CheckpointReport; None for a fixture whose family PyTorch lacks.
  """
  if fixture.name in _WITHOUT_PYTORCH:
    return None
  import torch
  folder.mkdir(parents=True)
  for path in fixture.iterdir():
    if path.name != _EXPECTED:
      shutil.copyfile(path, folder / path.name)
  expected = {tensor.name: tensor.load()
              for tensor in safetensors_io.read_file(fixture / _EXPECTED)}
  weights = fixture
  if fixture.name in _DECODED:
    weights = folder / "decoded"
    _decode(fixture.with_name(fixture.name.replace("_gguf", "_mxfp4")), weights)
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


def _decode(fixture, folder):
  """Writes a quantized fixture's weights as float32 in the layout that transformers reads."""
  settings = strict_json.read_object(fixture / "config.json")
  tensors = safetensors_io.read_folder(fixture)
  quantized = settings.pop("quantization_config", None)
  if quantized is None:
    raise ExportError(fixture, "no quantization_config", expected="a quantized fixture")
  settings.pop("auto_map", None)
  prediction = f"model.layers.{settings['num_hidden_layers']}."
  tensors = [tensor for tensor in tensors if not tensor.name.startswith(prediction)]
  decoded = Weights(tensors, {**settings, "quantization_config": quantized})
  folder.mkdir()
  plain = []
  for tensor in tensors:
    if tensor.name.endswith(("_scale_inv", "_scales")):
      continue
    blocks = tensor.name.endswith("_blocks")
    name = tensor.name[:-len("_blocks")] if blocks else tensor.name
    values = decoded[name]
    if blocks:  # stored [experts, outputs, inputs]
      values = np.ascontiguousarray(values.transpose(0, 2, 1))
    plain.append(from_array(name, "F32", values))
  hf_folder.write(folder, settings, plain, 1 << 30)
