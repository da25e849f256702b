#!/usr/bin/env python3
"""`./sluice bench` against llama.cpp on the same file, machine and threads, in one interleaved run.

  python3 -m venv venv && venv/bin/pip install llama-cpp-python   # builds llama.cpp for this machine
  tests/bench/compare_llama_cpp.py --python venv/bin/python MODEL.gguf [MODEL.gguf ...]

Each round measures both, the order swapped from round to round; a process warms up before it counts.
Prints a Markdown table of medians, quartiles and ratios, and with --json FILE every sample.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run_sluice(model, args):
    command = [str(ROOT / "sluice"), "bench", model, "--json", "-p", str(args.prompt),
               "-n", str(args.generate), "-r", str(args.repetitions),
               "--threads", str(args.threads)]
    report = json.loads(run(command))
    samples = {result["test"]: result["samples"] for result in report["results"]}
    return {"pp": samples.get(f"pp{args.prompt}", []), "tg": samples.get(f"tg{args.generate}", []),
            "system": f"sluice {report['version']}, {report['dtype']}"}


def run_llama(model, args):
    command = [args.python, str(ROOT / "tests/bench/llama_cpp_bench.py"), model,
               "-p", str(args.prompt), "-n", str(args.generate), "-r", str(args.repetitions),
               "-t", str(args.threads)]
    report = json.loads(run(command))
    return {"pp": report["pp"], "tg": report["tg"],
            "system": f"{report['version']}: {report['system']}"}


def run(command):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit code {result.returncode}\n{result.stderr}")
    return result.stdout


def describe(samples):
    low, middle, high = statistics.quantiles(samples, n=4)
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--python", default=sys.executable,
                        help="a Python that has llama-cpp-python")
    parser.add_argument("-p", "--prompt", type=int, default=512)
    parser.add_argument("-n", "--generate", type=int, default=128)
    parser.add_argument("-r", "--repetitions", type=int, default=2, help="per process")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-t", "--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", help="write every sample to this file")
    args = parser.parse_args()

    print(f"pp{args.prompt} and tg{args.generate} in tokens/s, median (quartiles) of "
          f"{args.rounds * args.repetitions}; {args.threads} threads\n")
    print("| model | test | sluice | llama.cpp | ratio |")
    print("| --- | --- | ---: | ---: | ---: |")
    every = {}
    for model in args.models:
        samples = {"sluice": {"pp": [], "tg": []}, "llama.cpp": {"pp": [], "tg": []}}
        for number in range(args.rounds):
            pair = [("sluice", run_sluice), ("llama.cpp", run_llama)]
            for name, measure in pair if number % 2 == 0 else reversed(pair):
                result = measure(model, args)
                samples[name]["system"] = result["system"]
                for test in ("pp", "tg"):
                    samples[name][test] += result[test]
        every[os.path.basename(model)] = samples
        for test, size in (("pp", args.prompt), ("tg", args.generate)):
            ours, theirs = samples["sluice"][test], samples["llama.cpp"][test]
            if ours and theirs:
                ratio = statistics.median(ours) / statistics.median(theirs)
                print(f"| {os.path.basename(model)} | {test}{size} | {describe(ours)} "
                      f"| {describe(theirs)} | {ratio:.2f} |", flush=True)
    last = samples
    print(f"\nsluice: {last['sluice']['system']}  \nllama.cpp: {last['llama.cpp']['system']}")
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(every, indent=1) + "\n")


if __name__ == "__main__":
    main()
