"""The command line: output, exit codes, one line per error."""

import os
import struct
import subprocess
import sys
import unittest

from tests.support import FIXTURES, SOURCE, FolderTest, copy_fixture, run_cli


class CommandTest(FolderTest):

  def assert_one_line(self, text):
    self.assertEqual(text.count("\n"), 1, text)
    self.assertTrue(text.startswith("sluice-export: "), text)
    self.assertNotIn("Traceback", text)

  def test_convert_reports(self):
    out = self.folder / "x.gguf"
    code, text, err = run_cli("convert", FIXTURES / "llama", out, "--no-tokenizer",
                              "--dtype", "bfloat16")
    self.assertEqual((code, err), (0, ""))
    self.assertIn("29 F32", text)
    self.assertIn("note: no tokenizer written", text)
    self.assertIn("29 tensors", text)
    self.assertIn("bfloat16", text)
    self.assertTrue(out.is_file())

  def test_windows_that_llama_cpp_ignores_are_said(self):
    _, text, _ = run_cli("convert", FIXTURES / "mistral", self.folder / "x.gguf", "--no-tokenizer")
    self.assertIn("past 8 tokens", text)

  def test_refusal_is_one_line_and_exit_code_1(self):
    code, out, err = run_cli("convert", self.folder / "absent", self.folder / "out")
    self.assertEqual((code, out), (1, ""))
    self.assert_one_line(err)
    self.assertIn("is not there", err)

  def test_verbose_adds_the_stack_trace(self):
    code, _, err = run_cli("convert", self.folder / "absent", self.folder / "out", "--verbose")
    self.assertEqual(code, 1)
    self.assertIn("Traceback", err)

  def test_names_of_a_hostile_file_stay_on_one_line(self):
    path = self.folder / "evil.gguf"
    key = b"a\nb\rc\x85d"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", len(key)) + key
                     + struct.pack("<I", 99))
    code, _, err = run_cli("convert", path, self.folder / "out")
    self.assertEqual(code, 1)
    self.assertEqual(len(err.splitlines()), 1)

  def test_usage_errors_exit_with_2(self):
    for arguments in ((), ("convert",), ("convert", "a", "b", "--dtype", "int3"), ("explode",),
                      ("golden", "x", "--prompts", "many")):
      with self.subTest(arguments):
        self.assertEqual(run_cli(*arguments)[0], 2)

  def test_folder_that_cannot_be_read(self):
    source = copy_fixture("llama", self.folder / "source")
    os.remove(source / "config.json")
    os.mkdir(source / "config.json")
    code, _, err = run_cli("convert", source, self.folder / "out")
    self.assertEqual(code, 1)
    self.assert_one_line(err)

  def test_golden_checks_its_arguments_first(self):
    for arguments, word in (((self.folder,), "no config.json"),
                            ((FIXTURES / "llama", "--prompts", "0"), "--prompts: 0"),
                            ((FIXTURES / "llama", "--prompts", "99999999999"), "--prompts"),
                            ((FIXTURES / "llama", "--min-gap", "nan"), "--min-gap"),
                            ((FIXTURES / "llama",), "--force")):
      with self.subTest(arguments):
        code, _, err = run_cli("golden", *arguments)
        self.assertEqual(code, 1)
        self.assert_one_line(err)
        self.assertIn(word, err)


class WithoutTorchTest(FolderTest):
  """The optional packages are made absent in a child process, whether installed or not."""

  def _run(self, *arguments):
    program = ("import sys; sys.modules['torch'] = sys.modules['transformers'] = None; "
               "from sluice_export.cli import main; sys.exit(main(sys.argv[1:]))")
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    return subprocess.run([sys.executable, "-c", program, *map(str, arguments)], text=True,
                          capture_output=True, env=environment, timeout=120)

  def test_golden_says_what_to_install(self):
    done = self._run("golden", FIXTURES / "llama", "--out", self.folder / "x.safetensors")
    self.assertEqual((done.returncode, done.stdout), (2, ""))
    self.assertEqual(done.stderr.count("\n"), 1)
    self.assertEqual(done.stderr, "sluice-export: torch: is not installed, and golden needs it; "
                     "run: pip install torch transformers\n")

  def test_pickle_says_what_to_install(self):
    source = copy_fixture("llama", self.folder / "source")
    os.rename(source / "model.safetensors", source / "pytorch_model.bin")
    done = self._run("convert", source, self.folder / "out")
    self.assertEqual(done.returncode, 2)
    self.assertIn("pytorch_model.bin", done.stderr)
    self.assertNotIn("Traceback", done.stderr)
    done = self._run("convert", source, self.folder / "out", "--verbose")
    self.assertIn("Traceback", done.stderr)

  def test_conversion_needs_neither(self):
    done = self._run("convert", FIXTURES / "llama", self.folder / "x.gguf", "--no-tokenizer")
    self.assertEqual((done.returncode, done.stderr), (0, ""))
    done = self._run("convert", self.folder / "x.gguf", self.folder / "out", "--dtype", "float16")
    self.assertEqual((done.returncode, done.stderr), (0, ""))

  def test_interrupted_conversion_leaves_nothing(self):
    # A shell's background job ignores SIGINT, and its children inherit that.
    program = ("import os, signal, sys\n"
               "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
               "from sluice_export import gguf_writer, cli\n"
               "def stop(*_): os.kill(os.getpid(), getattr(signal, sys.argv[1]))\n"
               "gguf_writer.write = stop\n"
               "sys.exit(cli.main(sys.argv[2:]))")
    for name, code in (("SIGTERM", 143), ("SIGINT", 130)):
      with self.subTest(name):
        done = subprocess.run(
            [sys.executable, "-c", program, name, "convert", str(FIXTURES / "llama"),
             str(self.folder / "x.gguf"), "--no-tokenizer"], capture_output=True, timeout=120,
            env={**os.environ, "PYTHONPATH": str(SOURCE)})
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(os.listdir(self.folder), [])


if __name__ == "__main__":
  unittest.main()
