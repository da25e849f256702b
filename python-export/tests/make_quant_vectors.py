"""Makes tests/data/quant_vectors.safetensors with the independent decoders of the package `gguf`.

Run by hand, with `gguf` installed, when a format is added; the tests need only the file it writes.
"""

import pathlib

import numpy as np
from gguf import GGMLQuantizationType, dequantize
from gguf.constants import GGML_QUANT_SIZES
from safetensors.numpy import save_file

# Where each format keeps its float16 scales.
SCALES = {"Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q8_0": (0,), "Q4_K": (0, 2),
          "Q5_K": (0, 2), "Q6_K": (208,), "MXFP4": ()}


def main():
  random = np.random.default_rng(7)
  vectors = {}
  for name, offsets in SCALES.items():
    kind = GGMLQuantizationType[name]
    size, nbytes = GGML_QUANT_SIZES[kind]
    count = 1024 // size
    blocks = random.integers(0, 256, size=(count, nbytes), dtype=np.uint8)
    for offset in offsets:
      scale = random.uniform(-0.2, 0.2, size=(count, 1)).astype("<f2")
      blocks[:, offset:offset + 2] = scale.view(np.uint8)
    if name == "MXFP4":
      # The three largest scales would overflow float32.
      blocks[:, 0] = random.integers(0, 253, size=count)
    vectors[f"{name}.blocks"] = blocks
    vectors[f"{name}.values"] = dequantize(blocks, kind).astype("<f4").reshape(count, size)
  folder = pathlib.Path(__file__).parent / "data"
  folder.mkdir(exist_ok=True)
  save_file(vectors, folder / "quant_vectors.safetensors")


if __name__ == "__main__":
  main()
