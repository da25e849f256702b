"""The console command `sluice-export`."""

import argparse
import signal
import sys
import traceback
from pathlib import Path

from sluice_export import __version__
from sluice_export.errors import ExportError

_DTYPES = ("float32", "float16", "bfloat16")


def _parser():
  parser = argparse.ArgumentParser(
      prog="sluice-export",
      description="Converts language-model checkpoints for Sluice and writes golden outputs.")
  parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
  commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

  convert = commands.add_parser(
      "convert", help="convert a checkpoint to a Hugging Face folder or a GGUF file",
      description="Converts SRC (a GGUF file, a Hugging Face folder with safetensors or PyTorch "
                  "weights, or one weight file beside its config.json) to DST: a GGUF file if DST "
                  "ends in .gguf, else a Hugging Face folder with safetensors.")
  convert.add_argument("source", metavar="SRC")
  convert.add_argument("destination", metavar="DST")
  convert.add_argument("--dtype", choices=_DTYPES,
                       help="type of the weights (default: as stored; bfloat16 if quantized)")
  convert.add_argument("--max-shard-size", metavar="SIZE",
                       help="largest weight file of a folder, such as 500MB or 2GiB (default: 5GB)")
  convert.add_argument("--no-tokenizer", action="store_true",
                       help="write a GGUF file without tokenizer")

  golden = commands.add_parser(
      "golden", help="write the outputs that a checkpoint must produce (needs torch)",
      description="Runs the Hugging Face checkpoint MODEL with transformers in float64 and writes "
                  "expected.safetensors, which `sluice verify` reads.")
  golden.add_argument("model", metavar="MODEL")
  golden.add_argument("--out", metavar="FILE", help="default: MODEL/expected.safetensors")
  golden.add_argument("--prompts", type=int, default=3, metavar="N",
                      help="number of prompts (default: 3)")
  golden.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32",
                      help="bfloat16 adds a reference run in bfloat16 (default: float32)")
  golden.add_argument("--inputs-from", metavar="FILE",
                      help="use the prompts of another expected.safetensors")
  golden.add_argument("--min-gap", type=float, default=0.004, metavar="G",
                      help="reject prompts with a top-1 gap below G (default: 0.004)")
  golden.add_argument("--fixture", nargs="+", metavar="NAME",
                      help="make these parity fixtures, with random weights and outputs of this "
                           "package's own float64 reference, as folders in MODEL; needs no torch "
                           "and none of the other options")

  golden.add_argument("--shape", nargs="+", metavar="NAME",
                      help="make these two-layer checkpoints of real sizes, with random weights and "
                           "float64 and bfloat16 outputs, as folders in MODEL")
  golden.add_argument("--scale", choices=("real", "tiny"), default="real",
                      help="of --shape: tiny divides the sizes (default: real)")
  golden.add_argument("--device", default="cpu",
                      help="of --shape: where torch computes (default: cpu)")
  golden.add_argument("--adaptive-reference", metavar="FILE",
                      help="of --shape adaptive-*: reference_model.py of the fixture adaptive_moe")

  evaluated = commands.add_parser(
      "lm-eval", help="write what lm-eval logs of a checkpoint (needs lm_eval)",
      description="Runs the Hugging Face checkpoint MODEL through one task of lm-eval 0.4.13, in "
                  "float32 on the CPU, and writes a gzipped line an item: hash of the prompt, "
                  "answer, scores.")
  evaluated.add_argument("model", metavar="MODEL")
  evaluated.add_argument("out", metavar="FILE")
  evaluated.add_argument("--data", required=True, metavar="DIR",
                         help="data sets, as `sluice eval fetch` leaves them")
  evaluated.add_argument("--task", required=True, metavar="TASK",
                         help="mmlu, mmlu_continuation, gsm8k, gsm8k_cot, or, generated only, "
                              "humaneval or humaneval_instruct")
  evaluated.add_argument("--num-fewshot", type=int, metavar="N",
                         help="worked examples (default: lm-eval's)")
  evaluated.add_argument("--apply-chat-template", action="store_true",
                         help="ask in conversations, examples as turns")
  items = evaluated.add_mutually_exclusive_group()
  items.add_argument("--first", type=int, metavar="N",
                     help="the first N items, of mmlu of each subject (default: all)")
  items.add_argument("--sample", type=int, metavar="N", help="N items drawn from all")
  evaluated.add_argument("--seed", type=int, default=0, help="of --sample (default: 0)")
  evaluated.add_argument("--batch-size", type=int, default=1, metavar="N",
                         help="of lm-eval (default: 1)")

  for command in (convert, golden, evaluated):
    command.add_argument("--force", action="store_true", help="replace an existing output")
    command.add_argument("--verbose", action="store_true", help="show the stack trace of an error")
  return parser


def main(arguments=None):
  """Runs the command line.

  Returns:
    0; 1 for a refusal or an error of the system; 2 for a missing package or wrong usage; 130 when
    interrupted.
  """
  options = _parser().parse_args(arguments)
  # A polite kill unwinds like any error, so that unfinished output is removed.
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
  try:
    if options.command == "convert":
      _convert(options)
    elif options.command == "golden":
      _golden(options)
    else:
      _lm_eval(options)
    return 0
  except ExportError as error:
    return _fail(error, error.exit_code, options.verbose)
  except OSError as error:
    return _fail(f"{error.filename or 'system'}: {error.strerror or error}", 1, options.verbose)
  except MemoryError:
    return _fail("not enough memory for the largest tensor; use a machine with more", 1,
                 options.verbose)
  except KeyboardInterrupt:
    return _fail("interrupted; nothing was written", 130, options.verbose)
  except Exception as error:  # a defect of this package; still no stack trace unless asked
    return _fail(f"internal error: {type(error).__name__}: {error}; please report it with the "
                 "output of --verbose", 1, options.verbose)


def _fail(message, code, verbose):
  if verbose:
    traceback.print_exc()
  print(f"sluice-export: {message}", file=sys.stderr)
  return code


def _show_progress(done, total):
  # One line that is written over, and wiped at the end.
  end = "\r" if done < total else "\r\033[K"
  print(f"\r{done} of {total} tensors", end=end, file=sys.stderr, flush=True)


def _convert(options):
  from sluice_export.convert import convert
  report = convert(options.source, options.destination, dtype=options.dtype,
                   max_shard_size=options.max_shard_size, no_tokenizer=options.no_tokenizer,
                   force=options.force, progress=_show_progress if sys.stderr.isatty() else None)
  types = ", ".join(f"{count} {name}" for name, count in report.source_types.most_common())
  print(f"{options.source}: {types}")
  for note in report.notes:
    print(f"note: {note}")
  print(f"{options.destination}: {report.tensors} tensors, {report.nbytes / 1e6:.1f} MB, "
        f"{report.dtype}")


def _golden(options):
  if options.fixture:
    from sluice_export.golden_fixtures import make_fixtures
    for report in make_fixtures(options.model, options.fixture, force=options.force):
      for line in report.lines():
        print(line)
    return
  if options.shape:
    from sluice_export.real_checkpoints import make_checkpoint
    for name in options.shape:
      report = make_checkpoint(
          Path(options.model) / name, name, scale=options.scale, device=options.device,
          adaptive_reference=options.adaptive_reference, force=options.force)
      for line in report.lines():
        print(line)
    return
  from sluice_export.golden import golden
  report = golden(options.model, out=options.out, prompts=options.prompts, dtype=options.dtype,
                  inputs_from=options.inputs_from, min_gap=options.min_gap, force=options.force)
  for line in report.lines():
    print(line)


def _lm_eval(options):
  from sluice_export.lm_eval_run import lm_eval
  report = lm_eval(options.model, options.out, options.data, options.task,
                   shots=options.num_fewshot, first=options.first, sample=options.sample,
                   seed=options.seed, batch_size=options.batch_size,
                   chat=options.apply_chat_template, force=options.force)
  for line in report.lines():
    print(line)
