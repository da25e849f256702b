"""What tests/gpu/checkpoints.py makes of a verification; the rest of it needs a GPU."""

import importlib.util
import subprocess
import types
import unittest
from pathlib import Path
from unittest import mock

SOURCE = Path(__file__).parents[2] / "tests/gpu/checkpoints.py"

OUTPUT = """/tmp/x, arithmetic in bfloat16
ok    router choices                     error 1.90e-02 (expected: below 4.1e-02), 9 of 470 tokens
ok    logits, whole prompt               error 1.04e-02 (expected: below 2.2e-02), 5 compared, \
worst: prompt 3 of 1000 tokens, 0.71 of the reference's error
FAIL  logits, decode                     error NaN (expected: below 2e-02), 5 compared, worst: \
prompt 1 of 17 tokens, NaN of the reference's error
ok    greedy tokens as traced, alone     equal, 40 tokens compared, 0 prompts parted
FAIL  greedy tokens as traced, batched   2.5 % differ, 40 tokens compared, 0 prompts parted
ran   router choices: attention=prefill_sm90 router=plain
ran   whole prompt: attention=prefill_sm90 gemm=cublaslt grouped_gemm=bf16_wgmma
ran   decode: attention=latent_sm90 gemm=cublaslt grouped_gemm=bf16_stream
2 of 5 checks failed
"""


def load():
  spec = importlib.util.spec_from_file_location("gpu_checkpoints", SOURCE)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


class GpuCheckpointsTest(unittest.TestCase):

  def setUp(self):
    self.module = load()

  def _verify(self, output, status):
    done = subprocess.CompletedProcess([], status, output)
    options = types.SimpleNamespace(backend="cuda", launcher="sluice", seconds=1)
    with mock.patch.object(self.module.subprocess, "run", return_value=done):
      return self.module.verify(options, "folder", "bfloat16")

  def test_checks_and_kernels_are_read(self):
    found = self._verify(OUTPUT, 1)
    self.assertEqual([row["ok"] for row in found["checks"].values()],
                     [True, True, False, True, False])
    self.assertEqual(found["checks"]["logits, whole prompt"]["of_pytorch"], 0.71)
    self.assertEqual(found["checks"]["logits, whole prompt"]["allowed"], 0.022)
    self.assertEqual(found["kernels"]["decode"],
                     ["attention=latent_sm90", "gemm=cublaslt", "grouped_gemm=bf16_stream"])
    failed = self.module.judge("deepseek-v3", "bfloat16", found, True)
    self.assertEqual(len([text for text in failed if "logits, decode" in text]), 1, failed)
    self.assertEqual(len([text for text in failed if "batched" in text]), 1, failed)

  def test_a_kernel_that_did_not_run_is_a_failure(self):
    kernels = {
        "whole prompt": ["attention=prefill_sm90", "gemm=cublaslt", "grouped_gemm=bf16_wgmma"],
        "chunked prefill": ["attention=prefill_sm90", "gemm=cublaslt", "grouped_gemm=bf16_tile"],
        "decode": ["attention=latent_sm90", "gemm=cublaslt", "grouped_gemm=bf16_stream"],
        "decode, 5 together": ["attention=plain", "gemm=cublaslt", "grouped_gemm=bf16_stream"]}
    problems = self.module.missing_kernels("deepseek-v3", kernels)
    self.assertEqual([problem.split(" (")[0] for problem in problems],
                     ["chunked prefill: grouped_gemm=bf16_wgmma did not run",
                      "decode, 5 together: attention=latent_sm90 did not run",
                      "decode, 5 together: attention=plain ran"])
    kernels["chunked prefill"][2] = "grouped_gemm=bf16_wgmma"
    kernels["decode, 5 together"][0] = "attention=latent_sm90"
    self.assertEqual(self.module.missing_kernels("deepseek-v3", kernels), [])
    for name in self.module.KERNELS:
      self.assertTrue(self.module.missing_kernels(name, {}), name)

  def test_selection_may_run_in_one_way_alone(self):
    prefill = ["adaptive_attention=mma_tiles", "gemm=cublaslt", "grouped_gemm=bf16_wgmma"]
    decode = ["adaptive_attention=rows", "gemm=cublaslt", "grouped_gemm=bf16_stream"]
    kernels = {"whole prompt": [*prefill, "adaptive_attention=select_mma"],
               "chunked prefill": prefill, "decode": [*decode, "adaptive_attention=select_rows"],
               "decode, 4 together": decode}
    self.assertEqual(self.module.missing_kernels("adaptive-topk", kernels), [])
    kernels["whole prompt"] = prefill
    self.assertEqual(len(self.module.missing_kernels("adaptive-topk", kernels)), 1)

  def test_what_did_not_run_or_has_no_measure_is_a_failure(self):
    self.assertEqual(len(self.module.judge("x", "float32", self._verify("", 0), False)), 1)
    self.assertIn("no such file", self.module.judge(
        "x", "float32", self._verify("sluice: no such file", 1), False)[0])
    bare = "ok    logits, decode  error 1.0e-02 (expected: below 2e-02), 5 compared, worst: none\n"
    self.assertIn("without PyTorch's error",
                  self.module.judge("x", "bfloat16", self._verify(bare, 0), False)[0])
    self.assertEqual(self.module.judge("x", "float32", self._verify(bare, 0), False), [])


if __name__ == "__main__":
  unittest.main()
