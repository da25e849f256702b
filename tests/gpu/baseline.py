#!/usr/bin/env python3
"""What PyTorch and its libraries take for the shapes of cuda_bench, by the same names.

    python3 baseline.py --out FILE [--only REGEX] [--seconds N]

Timed as cuda_bench does: launches are captured in a CUDA graph, operands rotate past the L2, random
data, the median of seven replays. A row that cannot run holds the reason in place of microseconds.
Rows of whole models are Hugging Face's implementation with random weights, eager as it comes.
"""

import argparse
import json
import random
import re
import time

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

DEVICE = "cuda"
ROUNDS = 7
L2_BYTES = 0
ROWS = {}
LIMITS = {}


def fresh(*shape, scale=1.0, dtype=torch.bfloat16):
    return torch.randn(*shape, device=DEVICE, dtype=dtype) * scale


class Rotation:
    """Copies of operands, together several times the L2."""

    def __init__(self, make):
        first = make()
        size = sum(t.numel() * t.element_size() for t in first)
        copies = max(2, min(64, 4 * L2_BYTES // size + 1))
        self.sets = [first] + [make() for _ in range(copies - 1)]

    def at(self, i):
        return self.sets[i % len(self.sets)]


def graph_us(launch, count):
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = [launch(i) for i in range(count)]
    graph.replay()
    times = []
    for _ in range(ROUNDS):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) * 1e3 / count)
    del kept
    return sorted(times)[ROUNDS // 2]


def measure(launch):
    stream = torch.cuda.Stream()  # a capture wants what it records to have run elsewhere before
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for i in range(3):
            launch(i)
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        launch(3)
        end.record()
        end.synchronize()
    torch.cuda.current_stream().wait_stream(stream)
    millis = begin.elapsed_time(end)
    count = max(20, min(100, int(4 / millis))) if millis < 1 else max(1, int(20 / millis))
    return graph_us(launch, count)


def eager_us(launch):
    """Of what takes a millisecond or more: a copy that a graph holds takes a slower engine."""
    times = []
    for i in range(21):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        launch(i)
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) * 1e3)
    return min(times)  # a limit: under long products the clocks fall


def row(name, library, make, work):
    """One time: operands by make(), work(*operands)."""
    if name not in WANTED:
        return
    try:
        with torch.no_grad():
            operands = Rotation(make)
            us = measure(lambda i: work(*operands.at(i)))
    except Exception as error:  # the next row must run
        us = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
        torch.cuda.synchronize()
    ROWS.setdefault(name, {})[library] = us
    print(f"{name:44} {library:16} {us if isinstance(us, str) else f'{us:10.1f} us'}", flush=True)


class Wanted:
    def __init__(self, pattern):
        self.pattern = re.compile(pattern or "")

    def __contains__(self, name):
        return time.monotonic() < DEADLINE and bool(self.pattern.search(name))


# Rows, in the order and by the names of cpp/bench/cuda ----------------------------------------------

def sdpa(backend, gqa=True, causal=True):
    def work(q, k, v):
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=gqa)
    return work


def attention():
    shapes = [("d128", 64, 8, 128, 128, s, 1) for s in (1024, 2048, 4096, 16384)]
    shapes += [("d128", 32, 8, 128, 128, 1024, 4)]
    shapes += [("d64", 64, 8, 64, 64, s, 1) for s in (4096, 16384)]
    shapes += [("192_128", 128, 128, 192, 128, s, 1) for s in (2048, 4096, 8192)]
    shapes += [("192_128", 16, 16, 192, 128, s, n) for s, n in ((1024, 1), (4096, 1), (1024, 4))]
    for kind, heads, kv, qk, vd, s, n in shapes:
        row(f"prefill_{kind}/h{heads}_kv{kv}/s{s}{f'x{n}' if n > 1 else ''}", "cuDNN SDPA",
            lambda: (fresh(n, heads, s, qk), fresh(n, kv, s, qk), fresh(n, kv, s, vd)),
            sdpa(SDPBackend.CUDNN_ATTENTION, heads != kv))
    for heads, kv, d, batch, s in [(32, 8, 128, 1, 1024), (32, 8, 128, 1, 8192),
                                   (32, 8, 128, 16, 4096), (32, 8, 128, 64, 4096),
                                   (32, 4, 128, 64, 4096), (32, 32, 128, 32, 2048),
                                   (64, 8, 64, 64, 4096)]:
        for library, backend in (("cuDNN SDPA", SDPBackend.CUDNN_ATTENTION),
                                 ("flash SDPA", SDPBackend.FLASH_ATTENTION)):
            row(f"decode_gqa/h{heads}_kv{kv}_d{d}/b{batch}_s{s}", library,
                lambda: (fresh(batch, heads, 1, d), fresh(batch, kv, s, d), fresh(batch, kv, s, d)),
                sdpa(backend, True, False))


def dense():
    for n, k in ((8192, 8192), (2048, 2048), (6144, 4096), (28672, 4096), (102400, 2048)):
        for m in ((8192,) if n == 8192 else (1, 8, 64, 4096)):
            row(f"gemm_{n}x{k}/m{m}", "cuBLAS", lambda: (fresh(m, k), fresh(n, k, scale=0.02)),
                F.linear)


# Name, hidden, intermediate, experts, experts a token, shared columns, whether weights sum to one.
EXPERTS = (("v2lite", 2048, 1408, 64, 6, 2816, False), ("qwen30b", 2048, 768, 128, 8, 0, True),
           ("mixtral", 4096, 14336, 8, 2, 0, True))


def grouped():
    for name, hidden, inter, experts, top, _, _ in EXPERTS:
        for up in (True, False):
            for tokens in (1, 8, 64, 128, 1024, 4096):
                counts = [0] * experts
                generator = random.Random(17)
                for _ in range(tokens):
                    for e in generator.sample(range(experts), top):
                        counts[e] += 1
                ends = torch.tensor(counts, device=DEVICE).cumsum(0).to(torch.int32)
                k, n = (hidden, 2 * inter) if up else (inter, hidden)
                # The product alone, of rows that are gathered already, without SwiGLU.
                row(f"grouped_{name}_{'up' if up else 'down'}/t{tokens}", "_grouped_mm",
                    lambda: (fresh(tokens * top, k), fresh(experts, n, k, scale=0.02)),
                    lambda x, w: torch._grouped_mm(x, w.transpose(1, 2), offs=ends))


def expert_layer(top, normalize):
    """Router to sum, of PyTorch's own ops; nothing waits for the host."""
    def work(x, router, up, down, *shared):
        weights, chosen = (x.float() @ router.T).softmax(-1).topk(top, -1)
        if normalize:
            weights = weights / weights.sum(-1, keepdim=True)
        chosen = chosen.flatten()
        order = chosen.argsort(stable=True)
        counts = torch.zeros(len(up), device=DEVICE, dtype=torch.int32)
        counts.scatter_add_(0, chosen, torch.ones_like(chosen, dtype=torch.int32))
        ends = counts.cumsum(0).to(torch.int32)
        tokens = order // top
        inner = swiglu(torch._grouped_mm(x[tokens], up.transpose(1, 2), offs=ends))
        results = torch._grouped_mm(inner, down.transpose(1, 2), offs=ends)
        out = torch.zeros(x.shape, device=DEVICE, dtype=torch.float32)
        out.index_add_(0, tokens, results.float() * weights.flatten()[order, None])
        if shared:
            out += F.linear(swiglu(F.linear(x, shared[0])), shared[1])
        return out
    return work


def expert_layers():
    for name, hidden, inter, experts, top, shared, normalize in EXPERTS:
        for tokens in (1, 8, 32, 64, 128, 1024, 4096):
            def make():
                operands = [fresh(tokens, hidden),
                            fresh(experts, hidden, scale=hidden**-0.5, dtype=torch.float32),
                            fresh(experts, 2 * inter, hidden, scale=0.02),
                            fresh(experts, hidden, inter, scale=0.02)]
                if shared:
                    operands += [fresh(2 * shared, hidden, scale=0.02),
                                 fresh(hidden, shared, scale=0.02)]
                return operands
            row(f"experts_{name}/t{tokens}", "PyTorch", make, expert_layer(top, normalize))


def norm(x, w):
    return F.rms_norm(x, (x.shape[-1],), w, 1e-6)


def add_norm(x, residual, w):
    residual.add_(x, alpha=1e-3)
    return F.rms_norm(residual, (x.shape[-1],), w, 1e-6).to(torch.bfloat16)


def swiglu(x):
    gate, up = x.chunk(2, -1)
    return F.silu(gate) * up


def rope(x, cos, sin):
    half = x.shape[-1] // 2
    a, b = x[..., :half].float(), x[..., half:].float()
    x[..., :half] = a * cos - b * sin
    x[..., half:] = b * cos + a * sin


def rows_of_memory():
    for library, wrap in (("PyTorch", lambda f: f), ("torch.compile", torch.compile)):
        # A shape of its own for each: what is compiled for any shape is slower.
        for r, c in ((8192, 8192), (16384, 4096), (64, 2048)):
            row(f"rmsnorm/{r}x{c}", library, lambda: (fresh(r, c), fresh(c)), wrap(norm))
        for r, c in ((16384, 4096), (64, 2048)):
            row(f"rmsnorm_residual/{r}x{c}", library,
                lambda: (fresh(r, c), fresh(r, c, dtype=torch.float32),
                         fresh(c, dtype=torch.float32)), wrap(add_norm))
        for r, c in ((8192, 14336), (64, 1408)):
            row(f"swiglu/{r}x{c}", library, lambda: (fresh(r, 2 * c),), wrap(swiglu))
        for t in (8192, 64):
            row(f"rope/t{t}_h32_d128", library,
                lambda: (fresh(t, 32, 128), fresh(t, 1, 64, dtype=torch.float32),
                         fresh(t, 1, 64, dtype=torch.float32)), wrap(rope))


def top_p(x):
    """Sorts, cuts at 0.95, draws by the exponential race."""
    sorted_, index = (x / 0.8).softmax(-1).sort(-1, descending=True)
    kept = torch.where(sorted_.cumsum(-1) - sorted_ > 0.95, 0, sorted_)
    return index.gather(-1, (kept / torch.empty_like(kept).exponential_()).argmax(-1, keepdim=True))


def routing():
    for name, count, top in (("e64_k6", 64, 6), ("e256_k8_g8", 256, 8)):
        for tokens in (1, 64, 4096):
            if count == 64:
                row(f"router_{name}/t{tokens}", "softmax, topk",
                    lambda: (fresh(tokens, count, dtype=torch.float32),),
                    lambda x: x.softmax(-1).topk(top, -1))
            row(f"permute_{name}/t{tokens}", "stable sort",
                lambda: (torch.randint(0, count, (tokens * top,), device=DEVICE),),
                lambda e: e.sort(stable=True))
    for rows in (1, 64):
        row(f"sampling_greedy/b{rows}_v102400", "argmax",
            lambda: (fresh(rows, 102400, dtype=torch.float32),), lambda x: x.argmax(-1))
        row(f"sampling_top_p/b{rows}_v102400", "sort",
            lambda: (fresh(rows, 102400, scale=3.0, dtype=torch.float32),), top_p)


def v2_lite():
    """Hugging Face's DeepSeek-V2 at the sizes of V2-Lite."""
    names = [f"model_deepseek-v2-lite/{w}" for w in ("prefill_4096", "decode_b1", "decode_b32")]
    if not any(n in WANTED for n in names):
        return
    try:
        import transformers
        config = transformers.DeepseekV2Config(
            vocab_size=102400, hidden_size=2048, intermediate_size=10944, moe_intermediate_size=1408,
            num_hidden_layers=27, num_attention_heads=16, num_key_value_heads=16, n_shared_experts=2,
            n_routed_experts=64, num_experts_per_tok=6, first_k_dense_replace=1, kv_lora_rank=512,
            q_lora_rank=None, qk_rope_head_dim=64, qk_nope_head_dim=128, v_head_dim=128,
            topk_method="greedy", norm_topk_prob=False, routed_scaling_factor=1.0,
            max_position_embeddings=163840, attn_implementation="sdpa")
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.bfloat16)
        try:
            with torch.device(DEVICE):
                model = transformers.DeepseekV2ForCausalLM(config).eval()
        finally:
            torch.set_default_dtype(before)

        @torch.no_grad()
        def timed(ids, cache, repeats):
            times = []
            for _ in range(repeats):
                torch.cuda.synchronize()
                begin = time.perf_counter()
                out = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
                torch.cuda.synchronize()
                times.append((time.perf_counter() - begin) * 1e6)
                cache = out.past_key_values if ids.shape[1] == 1 else None
            return sorted(times)[len(times) // 2], out.past_key_values

        def ids(batch, length):
            return torch.randint(0, 102400, (batch, length), device=DEVICE)

        timed(ids(1, 4096), None, 1)
        ROWS[names[0]] = {"Hugging Face": timed(ids(1, 4096), None, 3)[0]}
        for name, batch in ((names[1], 1), (names[2], 32)):
            _, cache = timed(ids(batch, 1024), None, 1)
            timed(ids(batch, 1), cache, 2)
            ROWS[name] = {"Hugging Face": timed(ids(batch, 1), cache, 8)[0]}
            del cache
    except Exception as error:  # the rows above must be kept
        ROWS[names[0]] = {"Hugging Face": f"{type(error).__name__}: {str(error)[:300]}"}
    for name in names:
        print(name, ROWS.get(name), flush=True)


def main():
    global L2_BYTES, WANTED, DEADLINE
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True)
    parser.add_argument("--only", help="a regular expression for names of rows")
    parser.add_argument("--seconds", type=float, default=420)
    arguments = parser.parse_args()
    DEADLINE = time.monotonic() + arguments.seconds
    WANTED = Wanted(arguments.only)
    properties = torch.cuda.get_device_properties(0)
    L2_BYTES = properties.L2_cache_size
    torch.manual_seed(1)
    big = Rotation(lambda: (fresh(8192, 8192), fresh(8192, 8192)))
    begin = time.monotonic()
    while time.monotonic() < begin + 0.5:  # the clocks of an idle device take a while to rise
        torch.mm(*big.at(0))
        torch.cuda.synchronize()
    us = eager_us(lambda i: torch.mm(*big.at(i)))
    LIMITS["bf16_TFLOP/s"] = 2 * 8192**3 / us * 1e-6
    a = fresh(1 << 30, dtype=torch.float32)
    b = torch.empty_like(a)
    LIMITS["copy_GB/s"] = 2 * a.numel() * 4 / eager_us(lambda i: b.copy_(a)) * 1e-3
    del a, b, big
    print(LIMITS, flush=True)
    for part in (attention, dense, grouped, expert_layers, routing, rows_of_memory, v2_lite):
        part()
        torch.cuda.empty_cache()
    with open(arguments.out, "w", encoding="utf-8") as file:
        json.dump({"context": {"torch": torch.__version__, "cuda": torch.version.cuda,
                               "cudnn": torch.backends.cudnn.version(), "device": properties.name,
                               **LIMITS}, "rows": ROWS}, file, indent=1)


if __name__ == "__main__":
    main()
