"""What several tests share: folders, fixtures and a small checkpoint made on the spot."""

import contextlib
import io
import json
import pathlib
import shutil
import sys
import tempfile
import unittest

import numpy as np

SOURCE = pathlib.Path(__file__).resolve().parent.parent / "src"
if str(SOURCE) not in sys.path:
  # The tests run from a checkout as well as against an installed package.
  sys.path.insert(0, str(SOURCE))

FIXTURES = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "fixtures"
DENSE = ("llama", "llama3_rope", "mistral", "qwen2")


class FolderTest(unittest.TestCase):
  """A test with an empty folder of its own, `self.folder`."""

  def setUp(self):
    self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sluice-export-test-"))
    self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

  def assert_refused(self, words, function, *args, **kwargs):
    """Checks that a call raises ExportError with all of `words` in a message of one line."""
    from sluice_export.errors import ExportError
    with self.assertRaises(ExportError) as caught:
      function(*args, **kwargs)
    message = str(caught.exception)
    for word in (words,) if isinstance(words, str) else words:
      self.assertIn(word, message)
    self.assertNotIn("\n", message)
    return message

  def leftovers(self):
    """Returns the names of hidden files that an unfinished output would have left."""
    return [path.name for path in self.folder.rglob(".*")]


def run_cli(*arguments):
  """Runs the command line in this process; returns (exit code, standard output, standard error)."""
  from sluice_export import cli
  out, err = io.StringIO(), io.StringIO()
  with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
    try:
      code = cli.main([str(argument) for argument in arguments])
    except SystemExit as exit_:
      code = exit_.code
  return code, out.getvalue(), err.getvalue()


def qwen3_checkpoint(folder, seed=3):
  """Writes a small random qwen3 checkpoint, the family for which there is no fixture."""
  from sluice_export import hf_folder, layout, model_config
  from sluice_export.tensor import from_array
  config = {
      "model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "vocab_size": 48,
      "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2,
      "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "rms_norm_eps": 1e-6,
      "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
      "max_position_embeddings": 128, "tie_word_embeddings": False, "dtype": "float32",
      "bos_token_id": 1, "eos_token_id": [2, 3], "pad_token_id": None,
  }
  random = np.random.default_rng(seed)
  tensors = [from_array(slot.hf_name, "F32", random.standard_normal(slot.shape))
             for slot in layout.slots(model_config.from_config(config))]
  folder = pathlib.Path(folder)
  folder.mkdir()
  hf_folder.write(folder, config, tensors, 1 << 30)
  return folder


def edit_json(path, **changes):
  """Changes keys of a JSON file; a value of `...` removes the key."""
  value = json.loads(path.read_text())
  for key, change in changes.items():
    if change is ...:
      value.pop(key, None)
    else:
      value[key] = change
  path.write_text(json.dumps(value))


def copy_fixture(name, folder):
  """Copies a fixture's checkpoint, without its expected outputs."""
  shutil.copytree(FIXTURES / name, folder, ignore=shutil.ignore_patterns("expected.safetensors"))
  return pathlib.Path(folder)
