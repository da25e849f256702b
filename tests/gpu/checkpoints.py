#!/usr/bin/env python3
"""Holds the engine against float64, and its bfloat16 against PyTorch's, at real sizes.

    python3 checkpoints.py --out FILE --work FOLDER [--only REGEX] [--scale tiny]
                           [--launcher ./sluice]

For each shape of sluice_export.real_sizes a seeded checkpoint of two layers is made with what it
must produce, verified in both types of arithmetic, and removed. Fixtures that PyTorch can run get its
bfloat16 beside their expectations. An error of more than 1.5 times PyTorch's, and a kernel that was
expected and did not run, are failures. Needs PyTorch and transformers.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE if (HERE / "sluice_export").is_dir() else HERE.parents[1]
sys.path.insert(0, str(HERE if ROOT == HERE else ROOT / "python-export/src"))
GOLDEN = ROOT / "tests/golden/fixtures"

# What has to run in bfloat16, as regular expressions, in every way to compute a prompt.
HEADS = {"prefill": ["attention=(prefill_sm90|cudnn.*)", "gemm=cublaslt"],
         "decode": ["attention=decode", "gemm=(cublaslt|bf16_one_row|bf16_stream)"]}
LATENTS = {"prefill": ["attention=(prefill_sm90|cudnn.*)", "gemm=cublaslt"],
           "decode": ["attention=latent_sm90", "gemm=(cublaslt|bf16_one_row|bf16_stream)"]}
EXPERTS = {"prefill": ["grouped_gemm=bf16_wgmma"],
           "decode": ["grouped_gemm=(bf16_one_row|bf16_stream)"]}
ADAPTIVE = {"prefill": ["adaptive_attention=mma_tiles", "gemm=cublaslt"],
            "decode": ["adaptive_attention=rows", "gemm=(cublaslt|bf16_one_row|bf16_stream)"]}
# Prompts with given masks select nothing, so in some way at least.
SELECTING = {"prefill": ["adaptive_attention=select_mma"],
             "decode": ["adaptive_attention=select_rows"]}
KERNELS = {
    "deepseek-v2-lite": (LATENTS, EXPERTS),
    "deepseek-v3": (LATENTS, EXPERTS),
    "qwen3-30b-a3b": (HEADS, EXPERTS),
    "mixtral-8x7b": (HEADS, EXPERTS),
    "llama-3-8b": (HEADS,),
    "gpt-oss-20b": (HEADS, EXPERTS),
    "adaptive-full-window": (ADAPTIVE, EXPERTS),
    "adaptive-blocks-density": (ADAPTIVE, EXPERTS),
    "adaptive-topk": (ADAPTIVE, SELECTING, EXPERTS),
}
PREFILL = ("whole prompt", "chunked prefill")


def command(options, folder, dtype):
    arguments = ["verify", folder, "--backend", options.backend, "--dtype", dtype]
    if options.launcher:
        return [options.launcher, *map(str, arguments)]
    import parts
    return [str(part) for part in parts.java("ai.sluice.cli.Main", *arguments)]


def verify(options, folder, dtype):
    """Runs verify; returns what it found."""
    begin = time.monotonic()
    try:
        done = subprocess.run(command(options, folder, dtype), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=options.seconds)
        status, text = done.returncode, done.stdout
    except subprocess.TimeoutExpired as expired:
        status, text = None, (expired.stdout or b"").decode("utf-8", "replace")
    checks, kernels = {}, {}
    for mark, name, error, allowed, word, detail in re.findall(
            r"^(ok  |FAIL)  (.+?)  +"
            r"(?:error (\S+) \(expected: below (\S+)\)|(equal|\S+ % differ)), (.*)$", text, re.M):
        share = re.search(r"(NaN|[0-9.]+) of the reference's error", detail)
        if word:
            error, allowed = "0" if word == "equal" else word.split()[0], "0"
        checks[name] = {"ok": mark == "ok  ", "error": float(error), "allowed": float(allowed),
                        "detail": detail}
        if share:
            checks[name]["of_pytorch"] = float(share.group(1))
    for mode, names in re.findall(r"^ran   (.+?): (.*)$", text, re.M):
        kernels[mode] = names.split()
    return {"status": status, "checks": checks, "kernels": kernels, "text": text,
            "seconds": round(time.monotonic() - begin, 1)}


def missing_kernels(name, kernels):
    """Expected kernels that did not run, and plain ones that did."""
    problems = []
    for when in ("prefill", "decode"):
        modes = {mode: ran for mode, ran in kernels.items()
                 if mode in PREFILL and when == "prefill"
                 or mode.startswith("decode") and when == "decode"}
        if not modes:
            problems.append(f"{when}: no kernels were named")
        for table in KERNELS[name]:
            ways = {when: sum(modes.values(), [])} if table is SELECTING else modes
            problems += [f"{way}: {kernel} did not run (ran: {' '.join(ran)})"
                         for way, ran in ways.items() for kernel in table[when]
                         if not any(re.fullmatch(kernel, one) for one in ran)]
        problems += [f"{mode}: attention=plain ran" for mode, ran in modes.items()
                     if "attention=plain" in ran]
    return problems


def judge(name, dtype, found, on_device):
    """Failures of one verification."""
    failed = [f"{name} {dtype}, {check}: error {row['error']:.2e} (expected: below "
              f"{row['allowed']:.1e}), {row['detail']}"
              for check, row in found["checks"].items() if not row["ok"]]
    if found["status"] != 0 and not failed:
        last = found["text"].strip().splitlines()[-1:] or [""]
        failed.append(f"{name} {dtype}: status {found['status']}; {last[0][:300]}")
    elif not found["checks"]:
        failed.append(f"{name} {dtype}: nothing was compared")
    if dtype == "bfloat16":
        bare = [check for check, row in found["checks"].items()
                if check.startswith("logits") and "of_pytorch" not in row]
        if bare:
            failed.append(f"{name} {dtype}: without PyTorch's error: {', '.join(bare)}")
        if on_device and name in KERNELS:
            failed += [f"{name} {dtype}, {problem}"
                       for problem in missing_kernels(name, found["kernels"])]
    return failed


def show(name, made, found):
    for dtype, result in found.items():
        errors = ", ".join(
            f"{check.removeprefix('logits, ')} {row['error']:.1e}"
            + (f" ({row['of_pytorch']:.2f} of PyTorch's)" if "of_pytorch" in row else "")
            for check, row in result["checks"].items() if check.startswith("logits"))
        choices = result["checks"].get("router choices")
        if choices:
            errors += f", other experts {choices['error']:.1e} (of {choices['allowed']:.1e})"
        print(f"  {name} {dtype}: {errors or 'nothing'}, {result['seconds']} s", flush=True)
    if made:
        print(f"    PyTorch bfloat16: {', '.join(f'{e:.1e}' for e in made['pytorch'])} at "
              f"{', '.join(map(str, made['lengths']))} tokens; made in "
              f"{sum(made['seconds'].values()):.1f} s", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--only", default="", help="a regular expression for names")
    parser.add_argument("--scale", default="real", choices=("real", "tiny"))
    parser.add_argument("--device", default="cuda", help="of PyTorch")
    parser.add_argument("--backend", default="cuda", help="of the engine")
    parser.add_argument("--launcher", help="the command sluice, in place of the packed jars")
    parser.add_argument("--dtypes", default="bfloat16,float32")
    parser.add_argument("--seconds", type=float, default=120, help="for one verification")
    parser.add_argument("--until", type=float, default=420, help="no checkpoint is begun later")
    parser.add_argument("--keep", action="store_true", help="keep the checkpoints")
    options = parser.parse_args()
    begin = time.monotonic()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from sluice_export import fixture_comparison, real_checkpoints
    from sluice_export.errors import ExportError
    reference = GOLDEN / "adaptive_moe/reference_model.py"
    rows, failed = {}, []

    def checked(name, folder, dtypes, made):
        found = {dtype: verify(options, folder, dtype) for dtype in dtypes}
        if not options.keep:
            shutil.rmtree(folder)
        show(name, made, found)
        problems = [problem for dtype, result in found.items()
                    for problem in judge(name, dtype, result, options.backend == "cuda")]
        for problem in problems:
            print(f"    FAIL {problem}", flush=True)
        failed.extend(problems)
        rows[name] = {**made, **{dtype: {key: value for key, value in result.items()
                                         if key != "text" or problems}
                                 for dtype, result in found.items()}}

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        jobs = []

        def begin_check(name, make, dtypes):
            if not re.search(options.only, name):
                return
            if time.monotonic() - begin > options.until:
                failed.append(f"{name}: not begun within {options.until:.0f} s")
                return
            try:
                report = make(options.work / name)
            except ExportError as error:
                failed.append(f"{name}: {error}")
                return
            cut = getattr(real_checkpoints.SHAPES.get(name), "cut", "")
            made = {"cut": cut, "lengths": report.lengths, "pytorch": report.errors,
                    "seconds": report.seconds}
            jobs.append(pool.submit(checked, name, options.work / name, dtypes, made))

        for name in real_checkpoints.SHAPES:
            begin_check(name, lambda folder, name=name: real_checkpoints.make_checkpoint(
                folder, name, scale=options.scale, device=options.device,
                adaptive_reference=reference, force=True), options.dtypes.split(","))
        for fixture in sorted(path.parent for path in GOLDEN.glob("*/expected.safetensors")):
            begin_check(f"fixture {fixture.name}",
                        lambda folder, fixture=fixture: fixture_comparison.make_comparison(
                            fixture, folder, options.device, reference), ["bfloat16"])
        for job in jobs:
            job.result()
    options.out.write_text(json.dumps({"rows": rows, "failed": failed,
                                       "seconds": round(time.monotonic() - begin, 1)}, indent=1))
    ratios = [row["of_pytorch"] for found in rows.values() if "bfloat16" in found
              for row in found["bfloat16"]["checks"].values() if "of_pytorch" in row]
    print(f"  {len(rows)} checkpoints, largest share of PyTorch's bfloat16 error "
          f"{max(ratios, default=float('nan')):.2f} (expected: at most 1.5), {len(failed)} failed, "
          f"{time.monotonic() - begin:.0f} s", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
