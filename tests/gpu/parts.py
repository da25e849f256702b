#!/usr/bin/env python3
"""The parts of tests/gpu/run. Needs python3 alone; baseline.py needs PyTorch besides."""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from ratios import CONTEXT, PREFILL, SHAPES, ratios

HERE = pathlib.Path(__file__).resolve().parent
PARTS = ("ops", "sanitize", "parity", "checkpoints", "bench", "baseline")
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

    def run(self, command, seconds, environment=None):
        """Runs a command; returns its exit status (None: out of time) and output. Thread-safe."""
        seconds = min(seconds, self.left())
        if seconds <= 1:
            return None, "no time was left"
        # In a session of its own: what the command started ends with it, and closes the pipe.
        with subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, cwd=HERE, start_new_session=True,
                              env={**os.environ, **{k: str(v) for k, v in
                                                    (environment or {}).items()}}) as process:
            try:
                output, _ = process.communicate(timeout=seconds)
                status = process.returncode
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                output, _ = process.communicate()
                status = None
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

# The slowest first. initcheck's unused memory is no error: the engine reserves what it may need.
TOOLS = {
    "racecheck": [],
    "initcheck": [],
    "memcheck": ["--leak-check", "full"],
    "synccheck": [],
}
# Of each program how many processes share its tests, and which tests. The tools slow a kernel down up
# to a hundredfold and start one process at a time, so few processes, and no sizes and repetitions
# that find no more errors; of the many patterns of adaptive attention one of each kind.
ADAPTIVE = ":".join(f"Kinds/*Attention.{test}/{kind}" for test in
                    ("EqualsTheDefinition", "DecodingStep") for kind in
                    ("full", "sliding_window_33", "topk_5", "density_25", "block_sparse_24",
                     "block_topk_7"))
SANITIZED = {
    "cuda_ops_test": (6, f"Cuda*:CublasLt*:{ADAPTIVE}-*Large*:*Long*:CudaAttention.Bits*:"
                         "CudaAttention.HeadDims:CudaAttention.ValueRows*:CudaAdaptiveTies*:"
                         "*RaggedChunksBehindPrefixes:CublasLt.Missing*"),
    "cuda_weights_test": (1, "*CudaWeights*:WeightExpertsTest*:WeightHeadsTest*:WeightShardsTest*"),
    "cuda_engine_test": (2, "*CudaEngine*:*CudaStep*:StepOutputTest*:MlaFormTest*:MoeReferenceTest*"
                            "-*Large*:*Big*:*Long*:*Speed*"),
}
SANITIZE_SECONDS = 440  # of all together; what is not done by then has failed
FINDING = re.compile(r"^={3,} (?:(?:Error|Warning): |Program hit |Invalid |Uninitialized |Leaked |"
                     r"Barrier |Divergent |Potential |Internal |The application may have hung).*")


def read_tests(text):
    """Seconds of each test that ended, the test that did not, and the tool's findings by test."""
    seconds, running, found = {}, None, []
    for line in text.splitlines():
        if match := re.match(r"\[ RUN      \] (\S+)", line):
            running = match[1]
        elif match := re.match(r"\[ +(OK|FAILED|SKIPPED) +\] (\S+?),? .*\((\d+) ms\)$", line):
            if match[2] == running:
                if match[1] == "FAILED":
                    found.append(f"{running}: the test fails under the tool")
                seconds[running], running = int(match[3]) / 1000, None
        elif FINDING.match(line):
            found.append(f"{running or 'outside of tests'}: {line.strip('= ')[:160]}")
    return seconds, running, list(dict.fromkeys(found))


def sanitize(part):
    tool = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    if not pathlib.Path(tool).exists():
        part.fail("compute-sanitizer: not found (expected: it in PATH or in /usr/local/cuda/bin)")
        return
    paths = {name: path for name in SANITIZED if (path := require(part, name))}
    jobs = [(kind, name, shard) for kind in TOOLS for name in paths
            for shard in range(SANITIZED[name][0])]

    def check(job):
        kind, name, shard = job
        shards, tests = SANITIZED[name]
        # Exit status 86: the tool found something.
        status, text = part.run([tool, "--tool", kind, *TOOLS[kind], "--error-exitcode", "86",
                                 paths[name], *TESTS[name], f"--gtest_filter={tests}"],
                                SANITIZE_SECONDS - (time.monotonic() - part.begin),
                                {"GTEST_TOTAL_SHARDS": shards, "GTEST_SHARD_INDEX": shard})
        return job, status, text

    counts = {kind: {"tests": 0, "findings": 0, "slowest": []} for kind in TOOLS}
    with concurrent.futures.ThreadPoolExecutor(max(2, (os.cpu_count() or 4) - 2)) as pool:
        for (kind, name, shard), status, text in pool.map(check, jobs):
            seconds, running, found = read_tests(text)
            counts[kind]["tests"] += len(seconds)
            counts[kind]["findings"] += len(found)
            counts[kind]["slowest"] += [(taken, test) for test, taken in seconds.items()]
            for finding in found[:8]:
                part.fail(f"{kind} {name} {finding}")
            if status is None:
                part.fail(f"{kind} {name}: not done in time after {len(seconds)} tests, "
                          f"{running or 'between tests'}")
            elif status != 0 and not found:
                part.fail(f"{kind} {name} shard {shard}: status {status}, {running or 'no test'}; "
                          f"{text.strip()[-300:]}")
            elif not seconds:
                part.fail(f"{kind} {name} shard {shard}: no test ran")
    part.result["tools"] = counts
    for kind, count in counts.items():
        count["slowest"] = sorted(count["slowest"], reverse=True)[:12]
        print(f"  {kind}: {count['tests']} tests, {count['findings']} findings; slowest "
              + ", ".join(f"{test} {taken:.0f} s" for taken, test in count["slowest"][:4]),
              flush=True)


# parity ----------------------------------------------------------------------------------------------

# Classes of the core's tests whose engines take the backend AUTO, which is CUDA here.
LIFECYCLE = [f"ai.sluice.core.{name}" for name in (
    "EngineLifecycleTest", "EngineRequestTest", "EngineFaultTest", "EngineMetricsTest",
    "EnginePressureTest", "PrefixCacheEngineTest", "SpeculationTest", "ScoreTest",
    "ClassificationTest", "AlternativesTest", "ExpertLoadTest", "SlidingWindowTest",
    "DeviceFaultTest")]


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
    # The bound for bfloat16 is PyTorch's error elsewhere: see checkpoints.
    jobs = [(f, dtype) for f in fixtures for dtype in ("float32", "bfloat16")
            if dtype == "float32" or f.name == "llama3_rope"]
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


# checkpoints -----------------------------------------------------------------------------------------

def checkpoints(part):
    report = part.out.resolve() / ".checkpoints.json"
    # Writing 30 GB to a disk would take longer than all the rest.
    memory = pathlib.Path("/dev/shm")
    fits = memory.is_dir() and shutil.disk_usage(memory).free > 40 << 30
    with tempfile.TemporaryDirectory(dir=memory if fits else None) as work:
        status, text = part.run([sys.executable, HERE / "checkpoints.py", "--out", report, "--work",
                                 work], 450)
    print(text.rstrip(), flush=True)
    if not report.exists():
        part.fail(f"checkpoints.py: status {status}; {text.strip()[-400:]}")
        return
    found = json.loads(report.read_text())
    report.unlink()
    part.result["rows"] = found["rows"]
    part.result["failed"] += found["failed"]
    if status != 0 and not found["failed"]:
        part.fail(f"checkpoints.py: status {status}; {text.strip()[-400:]}")


# bench and baseline ----------------------------------------------------------------------------------

def bench(part):
    path = require(part, "cuda_bench")
    if path is None:
        return
    report = part.out.resolve() / ".bench.json"
    status, text = part.run([path, f"--benchmark_out={report}", "--benchmark_out_format=json",
                              "--benchmark_filter=-^by_kernel/grouped"], 240)
    if not report.exists() or not report.read_text().strip():
        part.fail(f"cuda_bench: status {status}; {text[-400:]}")
        return
    found = complete(report.read_text())
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


def complete(text):
    """What Google Benchmark wrote; where its time ran out, the rows before the last."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        end = text.rfind("},")
        return json.loads(text[:end] + "}]}") if end >= 0 else {"context": {}, "benchmarks": []}


# A model made for 4,096 positions has none left for what a prompt of 4,096 is answered with.
SHORTER_PROMPTS = {"deepseek-7b": 2048}


def bench_models(part, rows, context):
    copy = float(context.get("copy_GB/s", 0)) * 1e9
    products = float(context.get("bf16_TFLOP/s", 0)) * 1e12
    for shape, sizes in SHAPES.items():
        prompt = SHORTER_PROMPTS.get(shape, PREFILL)
        status, text = part.run(java("ai.sluice.cli.Main", "bench", "--shape", shape, "--backend",
                                     "cuda", "-r", "3", "--json", "-p", prompt, "-n", "32", "-d",
                                     CONTEXT, "-c", sizes.concurrency if sizes else "1,64"), 120)
        begin = text.find("{")
        if status != 0 or begin < 0:
            part.fail(f"bench --shape {shape}: status {status}; {text.strip()[-300:]}")
            continue
        for test in json.loads(text[begin:])["results"]:
            if test["test"].startswith("pp"):
                name = f"model_{shape}/prefill_{prompt}"
                us = prompt / test["tokens_per_second"] * 1e6
                floor = sizes.prefill_flops(prompt) / products if sizes and products else 0
            else:
                batch = test["concurrency"]
                name = f"model_{shape}/decode_b{batch}"
                us = test["milliseconds_per_step"] * 1e3
                floor = sizes.decode_bytes(batch, CONTEXT) / copy if sizes and copy else 0
            rows[name] = {"us": us, "kernel": f"{test['tokens_per_second']:.0f} tokens/s"}
            if floor:
                rows[name] |= {"floor_us": floor * 1e6, "share": floor * 1e6 / us}
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


# the command ----------------------------------------------------------------------------------------

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
    # oneDNN, where it is packed, for the C++ tests.
    os.environ["LD_LIBRARY_PATH"] = os.pathsep.join(
        filter(None, [os.environ.get("LD_LIBRARY_PATH"), str(HERE / "natives")]))
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
