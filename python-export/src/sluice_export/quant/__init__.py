"""Weight formats of GGUF files: one module per block format.

Each module has BLOCK_SIZE (values per block), BLOCK_BYTES and `decode(blocks)`, which turns uint8
[n, BLOCK_BYTES] into float32 [n, BLOCK_SIZE] with the arithmetic of the format's definition in
float32.
"""

from sluice_export.quant import mxfp4, q4_0, q4_1, q4_k, q5_0, q5_1, q5_k, q6_k, q8_0

FORMATS = {
    "Q4_0": q4_0,
    "Q4_1": q4_1,
    "Q5_0": q5_0,
    "Q5_1": q5_1,
    "Q8_0": q8_0,
    "Q4_K": q4_k,
    "Q5_K": q5_k,
    "Q6_K": q6_k,
    "MXFP4": mxfp4,
}
