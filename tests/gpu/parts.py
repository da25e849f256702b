#!/usr/bin/env python3
"""The parts of tests/gpu/run. Needs python3 alone; baseline.py needs PyTorch besides."""

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
PARTS = ("ops", "sanitize", "parity", "bench", "baseline")
PART_SECONDS = 460


class Part:
    """One part: its log file, its deadline, and what it found."""

    def __init__(self, name, out):
        self.name = name
        self.out = out
        self.begin = time.monotonic()
        self.log = open(out / f"{name}.log", "w", encoding="utf-8")
        self.result = {"failed": []}

    def left(self):
        return PART_SECONDS - (time.monotonic() - self.begin)

    def run(self, command, seconds):
        """Runs a command; returns its exit status (None: out of time) and output. Thread-safe."""
        seconds = min(seconds, self.left())
        if seconds <= 1:
            return None, "no time was left"
        try:
            done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=seconds, cwd=HERE)
            status, output = done.returncode, done.stdout
        except subprocess.TimeoutExpired as expired:
            status, output = None, expired.stdout or b""
        text = output.decode("utf-8", "replace")
        self.log.write(f"$ {' '.join(str(c) for c in command)}\n{text}\nexit status: {status}\n\n")
        self.log.flush()
        return status, text

    def fail(self, what):
        self.result["failed"].append(what)
        print(f"  FAIL {what}", flush=True)

    def close(self):
        self.result["seconds"] = round(time.monotonic() - self.begin, 1)
        self.log.close()
        return self.result


def program(name):
    path = HERE / "bin" / name
    return path if path.exists() else None


# Programs of C++ tests, and what each wants besides Google Test's options.
TESTS = {"cuda_ops_test": [], "cuda_weights_test": [], "cuda_engine_test": [HERE / "tests/golden"]}


def require(part, name):
    path = program(name)
    if path is None:
        part.fail(f"{name}: not packed (expected: bin/{name}; remedy: build it and pack again)")
    return path


# ops -------------------------------------------------------------------------------------------------

def ops(part):
    for name, arguments in TESTS.items():
        path = require(part, name)
        if path is None:
            continue
        report = part.out.resolve() / f".{name}.json"
        status, text = part.run([path, *arguments, f"--gtest_output=json:{report}",
                                 "--gtest_brief=1"], 300)
        if not report.exists():
            part.fail(f"{name}: status {status}, no report; {text[-400:]}")
            continue
        found = json.loads(report.read_text())
        report.unlink()
        bad = [f"{suite['name']}.{case['name']}" for suite in found["testsuites"]
               for case in suite["testsuite"] if case.get("failures")]
        part.result[name] = {"tests": found["tests"], "failures": found["failures"]}
        for case in bad:
            part.fail(f"{name} {case}")
        if status != 0 and not bad:
            part.fail(f"{name}: status {status}")
        print(f"  {name}: {found['tests']} tests, {found['failures']} failed", flush=True)


# sanitize --------------------------------------------------------------------------------------------

TOOLS = {
    "memcheck": ["--leak-check", "full"],
    "racecheck": [],
    "initcheck": [],
    "synccheck": [],
}
# Sizes for speed, not for finding errors; the tools slow a kernel down a hundredfold.
NOT_SANITIZED = "-*Large*:*Big*:*Long*:*Speed*"


def suites(path):
    text = subprocess.run([str(path), *map(str, TESTS[path.name]), "--gtest_list_tests"], stdout=subprocess.PIPE, text=True,
                          check=True).stdout
    return [line.split("#")[0].strip().rstrip(".") for line in text.splitlines()
            if line and not line.startswith(" ") and line.split("#")[0].strip().endswith(".")]


def sanitize(part):
    tool = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    if not pathlib.Path(tool).exists():
        part.fail("compute-sanitizer: not found (expected: it in PATH or in /usr/local/cuda/bin)")
        return
    jobs = []
    for name in TESTS:
        path = require(part, name)
        if path is not None:
            jobs += [(kind, path, suite) for suite in suites(path) for kind in TOOLS]

    def check(job):
        kind, path, suite = job
        # Exit status 86: the tool found something.
        status, text = part.run([tool, "--tool", kind, *TOOLS[kind], "--error-exitcode", "86",
                                 path, *TESTS[path.name], f"--gtest_filter={suite}.*{NOT_SANITIZED}",
                                 "--gtest_brief=1"], 200)
        return job, status, text

    counts = {kind: {"clean": 0, "not run": 0} for kind in TOOLS}
    with concurrent.futures.ThreadPoolExecutor(max(2, min(6, (os.cpu_count() or 4) // 2))) as pool:
        for (kind, path, suite), status, text in pool.map(check, jobs):
            if status == 0:
                counts[kind]["clean"] += 1
            elif status is None:
                counts[kind]["not run"] += 1
                part.fail(f"{kind} {path.name} {suite}: not done in time")
            else:
                summary = re.findall(r"={3,} (?:ERROR SUMMARY|RACECHECK SUMMARY).*", text)
                part.fail(f"{kind} {path.name} {suite}: status {status} {' '.join(summary)}")
    part.result["suites"] = counts
    for kind, count in counts.items():
        print(f"  {kind}: {count['clean']} suites clean", flush=True)


# parity ----------------------------------------------------------------------------------------------

# Classes of the core's tests whose engines take the backend AUTO, which is CUDA here.
LIFECYCLE = [f"ai.sluice.core.{name}" for name in (
    "EngineLifecycleTest", "EngineRequestTest", "EngineFaultTest", "EngineMetricsTest",
    "EnginePressureTest", "PrefixCacheEngineTest", "SpeculationTest", "ScoreTest",
    "ClassificationTest", "AlternativesTest", "ExpertLoadTest", "SlidingWindowTest")]


def java(*arguments):
    jars = sorted((HERE / "jars").glob("*.jar")) + sorted((HERE / "tests").glob("*.jar"))
    return [HERE / "java/bin/java", "--enable-native-access=ALL-UNNAMED",
            "--sun-misc-unsafe-memory-access=allow", "-XX:+UseSerialGC",
            "-Dorg.bytedeco.javacpp.noPointerGC=true", "-Dorg.bytedeco.javacpp.loadLibraries=false",
            "-Dai.djl.offline=true", f"-Dsluice.library.path={HERE / 'natives'}",
            "-cp", ":".join(map(str, jars)), *arguments]


def verify(part, job):
    fixture, dtype = job
    status, text = part.run(java("ai.sluice.cli.Main", "verify", fixture, "--backend", "cuda",
                                 "--dtype", dtype), 120)
    checks = re.findall(r"^(ok  |FAIL)  (.+?)  +(?:error ([0-9.e+-]+|NaN)|(.*?differ|equal))", text,
                        re.M)
    return job, status, text, {name.strip(): {"ok": mark == "ok  ", "error": error or word}
                               for mark, name, error, word in checks}


def parity(part):
    status, text = part.run(java("ai.sluice.cli.Main", "doctor"), 120)
    part.result["doctor"] = text
    print("  " + text.strip().replace("\n", "\n  "), flush=True)
    fixtures = sorted(p.parent for p in (HERE / "tests/golden/fixtures").glob("*/expected.safetensors"))
    if not fixtures:
        part.fail("fixtures: none packed")
    jobs = [(f, dtype) for f in fixtures for dtype in ("float32", "bfloat16")]
    found = part.result["fixtures"] = {}
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for (fixture, dtype), status, text, checks in pool.map(lambda j: verify(part, j), jobs):
            found[f"{fixture.name} {dtype}"] = checks
            worst = max((float(c["error"]) for c in checks.values()
                         if re.fullmatch(r"[0-9.e+-]+", c["error"])), default=float("nan"))
            if status == 0 and checks:
                print(f"  ok   {fixture.name} {dtype}: {len(checks)} checks, worst {worst:.2e}")
            else:
                bad = [n for n, c in checks.items() if not c["ok"]]
                last = text.strip().splitlines()[-1:] or [""]
                part.fail(f"verify {fixture.name} {dtype}: status {status}, worst {worst:.2e}, "
                          f"{bad or last[0][:300]}")
    lifecycle = {}
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for name, (status, text) in zip(LIFECYCLE, pool.map(
                lambda c: part.run(java("ai.sluice.gpu.TestsMain", c), 240), LIFECYCLE)):
            lines = re.findall(r"^(ok  |FAIL|SKIP) (.*)$", text, re.M)
            lifecycle[name.rsplit(".", 1)[1]] = {
                mark.strip().lower(): sum(1 for m, _ in lines if m == mark)
                for mark in ("ok  ", "FAIL", "SKIP")}
            for mark, test in lines:
                if mark == "FAIL":
                    part.fail(f"{test}")
            if status != 0 and not any(m == "FAIL" for m, _ in lines):
                part.fail(f"{name}: status {status}")
            print(f"  {name}: {lifecycle[name.rsplit('.', 1)[1]]}", flush=True)
    part.result["lifecycle"] = lifecycle


# bench and baseline ----------------------------------------------------------------------------------

def bench(part):
    path = require(part, "cuda_bench")
    if path is None:
        return
    report = part.out.resolve() / ".bench.json"
    status, text = part.run([path, f"--benchmark_out={report}", "--benchmark_out_format=json"], 240)
    if not report.exists() or not report.read_text().strip():
        part.fail(f"cuda_bench: status {status}; {text[-400:]}")
        return
    try:
        found = json.loads(report.read_text())
    except json.JSONDecodeError:  # out of time: the file ends in the middle
        found = {"context": {}, "benchmarks": []}
    report.unlink()
    part.result["context"] = found["context"]
    rows = part.result["rows"] = {}
    for row in found["benchmarks"]:
        name = re.sub(r"/(iterations:\d+|manual_time)", "", row["name"])
        if row.get("error_occurred"):
            part.fail(f"{name}: {row.get('error_message')}")
            continue
        rows[name] = {key: row[key] for key in ("us", "floor_us", "share", "GB/s", "TFLOP/s")
                      if key in row}
        rows[name]["kernel"] = row.get("label", "")
    if status != 0:
        part.fail(f"cuda_bench: status {status}")
    print(f"  {len(rows)} rows", flush=True)
    bench_models(part, rows, found["context"])


# Whole models with random weights: tests, and for each what a step must at least move (bytes) or
# compute (FLOP), counted by hand from the sizes: chosen experts, other weights, keys and values.
MODELS = {
    "deepseek-v2-lite": ["-p", "4096", "-n", "32", "-d", "1024", "-c", "1,32,64"],
    "deepseek-7b": ["-p", "4096", "-n", "32", "-d", "1024", "-c", "1"],
}
MODEL_WORK = {
    "model_deepseek-v2-lite/prefill_4096": ("flops", 20.6e12),
    "model_deepseek-v2-lite/decode_b1": ("bytes", 4.90e9),
    "model_deepseek-v2-lite/decode_b64": ("bytes", 33.1e9),
    "model_deepseek-7b/decode_b1": ("bytes", 13.8e9),
}


def bench_models(part, rows, context):
    for shape, tests in MODELS.items():
        status, text = part.run(java("ai.sluice.cli.Main", "bench", "--shape", shape, "--backend",
                                     "cuda", "-r", "3", "--json", *tests), 200)
        begin = text.find("{")
        if status != 0 or begin < 0:
            part.fail(f"bench --shape {shape}: status {status}; {text.strip()[-300:]}")
            continue
        for test in json.loads(text[begin:])["results"]:
            if test["test"].startswith("pp"):
                name = f"model_{shape}/prefill_{test['test'][2:]}"
                us = int(test["test"][2:]) / test["tokens_per_second"] * 1e6
            else:
                name = f"model_{shape}/decode_b{test['concurrency']}"
                us = test["milliseconds_per_step"] * 1e3
            rows[name] = {"us": us, "kernel": f"{test['tokens_per_second']:.0f} tokens/s"}
            kind, amount = MODEL_WORK.get(name, (None, 0))
            rate = float(context.get("copy_GB/s", 0)) * 1e9 if kind == "bytes" else \
                float(context.get("bf16_TFLOP/s", 0)) * 1e12
            if kind and rate:
                rows[name]["floor_us"] = amount / rate * 1e6
                rows[name]["share"] = rows[name]["floor_us"] / us
            print(f"  {name}: {us:.0f} us, {test['tokens_per_second']:.0f} tokens/s", flush=True)


def baseline(part):
    report = part.out.resolve() / ".baseline.json"
    status, text = part.run([sys.executable, HERE / "baseline.py", "--out", report], 450)
    print("  " + "\n  ".join(text.strip().splitlines()[-12:]), flush=True)
    if report.exists():
        part.result.update(json.loads(report.read_text()))
        report.unlink()
    for name, row in part.result.get("rows", {}).items():
        for what, value in row.items():
            if isinstance(value, str):
                part.fail(f"{name} {what}: {value}")
    if status != 0:
        part.fail(f"baseline.py: status {status}; {text[-400:]}")


# ratios ----------------------------------------------------------------------------------------------

def ratios(results):
    """A table: each row of the bench beside its floor and beside the libraries of the same run."""
    ours = results.get("bench", {}).get("rows", {})
    theirs = results.get("baseline", {}).get("rows", {})
    lines = [f"Commit {results.get('commit', 'unknown')}, {results.get('gpu', 'unknown GPU')}.", "",
             "Times in microseconds; share: floor / time; ratio: the library's time / ours (above 1: "
             "ours is faster).", "",
             "| what | kernel | µs | floor | share | library | its µs | ratio |",
             "| --- | --- | ---: | ---: | ---: | --- | ---: | ---: |"]
    for name in sorted(set(ours) | set(theirs)):
        row = ours.get(name, {})
        us = row.get("us")
        libraries = {k: v for k, v in theirs.get(name, {}).items() if isinstance(v, (int, float))}
        for library, their in (libraries or {"": None}).items():
            lines.append("| {} | {} | {} | {} | {} | {} | {} | {} |".format(
                name, row.get("kernel", ""), number(us), number(row.get("floor_us")),
                f"{row['share']:.2f}" if "share" in row else "", library, number(their),
                f"{their / us:.2f}" if us and their else ""))
    return "\n".join(lines) + "\n"


def number(value):
    return "" if value is None else f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def gpu_name():
    try:
        return subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"],
                              stdout=subprocess.PIPE, text=True, timeout=30).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return "no nvidia-smi"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("parts", nargs="*", help=f"{', '.join(PARTS)}; default: all")
    arguments = parser.parse_args()
    for name in arguments.parts:
        if name not in PARTS:
            parser.error(f"{name} (expected: {', '.join(PARTS)})")
    arguments.out.mkdir(parents=True, exist_ok=True)
    merged = arguments.out / "results.json"
    results = json.loads(merged.read_text()) if merged.exists() else {}
    commit = HERE / "commit"
    results["commit"] = commit.read_text().strip() if commit.exists() else "unknown"
    results["gpu"] = gpu_name()
    failed = 0
    for name in arguments.parts or PARTS:
        print(name, flush=True)
        part = Part(name, arguments.out)
        try:
            globals()[name](part)
        except Exception as error:  # the other parts' results must not be lost
            part.fail(f"{name}: {type(error).__name__}: {error}")
        results[name] = part.close()
        failed += len(results[name]["failed"])
        merged.write_text(json.dumps(results, indent=1))
        (arguments.out / "ratios.md").write_text(ratios(results))
        print(f"  {len(results[name]['failed'])} failed, {results[name]['seconds']} s", flush=True)
    print(f"{failed} failed; {merged}, {arguments.out / 'ratios.md'}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
