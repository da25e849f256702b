"""What the rows of the bench are to reach, and the table of them beside the libraries' times."""

import re


class Shape:
    """Sizes of a model with random weights, and what a step of it must at least do."""

    def __init__(self, layers, hidden, vocab, attention, head_dims, kv_row, dense=(0, 0),
                 experts=(0, 0, 0, 0), concurrency="1,64"):
        self.layers, self.hidden, self.vocab = layers, hidden, vocab
        self.attention = attention  # values of a layer's matrices
        self.head_dims = head_dims  # columns of a key and a value of all heads
        self.kv_row = kv_row  # bytes of a position in a layer
        self.dense = dense  # layers with one feed-forward, its columns
        self.experts = experts  # how many, of a token, shared, columns of one
        self.concurrency = concurrency

    def values(self, experts):
        """Of the matrices that a step multiplies by, with so many experts of a layer; no head."""
        dense_layers, dense_columns = self.dense
        return (self.layers * self.attention + dense_layers * 3 * self.hidden * dense_columns +
                (self.layers - dense_layers) * experts * 3 * self.hidden * self.experts[3])

    def decode_bytes(self, batch, context):
        count, of_token, shared, _ = self.experts
        touched = count * (1 - (1 - of_token / count)**batch) if count else 0
        return (2 * (self.values(touched + shared) + self.vocab * self.hidden) +
                batch * context * self.layers * self.kv_row)

    def prefill_flops(self, tokens):
        _, of_token, shared, _ = self.experts
        return (2 * tokens * self.values(of_token + shared) +
                self.layers * self.head_dims * tokens**2)


PREFILL, CONTEXT = 4096, 1024
SHAPES = {
    "deepseek-v2-lite": Shape(27, 2048, 102400, 2048 * (16 * 192 + 576 + 2048) + 512 * 16 * 256,
                              16 * 320, 1152, (1, 10944), (64, 6, 2, 1408), "1,32,64"),
    "deepseek-7b": Shape(30, 4096, 102400, 4 * 4096**2, 32 * 256, 2 * 32 * 256, (30, 11008)),
    "llama-3-8b": Shape(32, 4096, 128256, 4096 * (2 * 4096 + 2 * 1024), 32 * 256, 2 * 8 * 256,
                        (32, 14336)),
    "qwen3-30b-a3b": Shape(48, 2048, 151936, 2048 * (2 * 4096 + 2 * 512), 32 * 256, 2 * 4 * 256,
                           (0, 0), (128, 8, 0, 768)),
    "mixtral-8x7b": Shape(32, 4096, 32000, 4096 * (2 * 4096 + 2 * 1024), 32 * 256, 2 * 8 * 256,
                          (0, 0), (8, 2, 0, 14336)),
    "adaptive": None,  # what its masks and its decisions leave out is not known beforehand
}


# What rows are to reach, by the end of a name's match: first for a sound level, then for what the
# device allows. "us" is an upper bound, the others lower ones; ratio is to the fastest library.
TARGETS = [
    (r"prefill_d128/h64_kv8/s4096", ("ratio", 0.95), ("TFLOP/s", 470)),
    (r"prefill_d128/h64_kv8/s16384", ("ratio", 0.95), ("TFLOP/s", 540)),
    (r"prefill_192_128/h128_kv128/s4096", ("ratio", 0.95), ("TFLOP/s", 480)),
    (r"prefill_192_128/h128_kv128/s8192", None, ("TFLOP/s", 515)),
    (r"prefill_d64/.*", None, ("TFLOP/s", 330)),
    (r"prefill_.*/s(1024|2048|1024x4)", None, ("ratio", 0.70)),
    (r"decode_mla/h16/b128_s4096", ("GB/s", 2400), ("GB/s", 3400)),
    (r"decode_mla/h16/b32_s4096", None, ("GB/s", 3400)),
    (r"decode_mla/h128/b128_s4096", None, ("TFLOP/s", 500)),
    (r"decode_gqa/.*/b(64_s4096|32_s2048)", ("share", 0.60), ("share", 0.80)),
    (r"grouped_(v2lite|mixtral)_(up|down)/t4096", ("TFLOP/s", 400), ("TFLOP/s", 600)),
    (r"grouped_(.*/t(8|64)|(v2lite|qwen30b).*/t128)", ("share", 0.60), ("share", 0.75)),
    (r"experts_v2lite/t1", None, ("share", 1 / 1.7)),
    (r"experts_v2lite/t64", None, ("share", 1 / 1.35)),
    (r"experts_v2lite/t4096", None, ("share", 0.65)),
    (r"(rmsnorm|rmsnorm_residual|swiglu)/(8192|16384)x.*", None, ("share", 0.85)),
    (r"(rope/t8192|unpermute_.*/t4096).*", None, ("share", 0.85)),
    (r"model_deepseek-v2-lite/decode_b1", ("us", 3000), ("us", 1900)),
    (r"model_deepseek-v2-lite/decode_b64", ("us", 16000), ("us", 10500)),
    (r"model_deepseek-v2-lite/prefill_4096", ("us", 58500), ("us", 37200)),
    (r"model_deepseek-7b/decode_b1", ("us", 4500), None),
]


def reached(target, row):
    """A target and whether the row reaches it, for the table."""
    if target is None:
        return ""
    kind, limit = target
    value = row.get(kind)
    sign = "≤" if kind == "us" else "≥"
    text = f"{sign} {limit:.2f}" if limit < 1 else f"{sign} {limit:.0f}"
    text += {"us": " µs", "ratio": " ratio", "share": " share"}.get(kind, f" {kind}")
    if value is None:
        return f"{text}: not measured"
    return f"{text}: {'yes' if (value <= limit if kind == 'us' else value >= limit) else 'no'}"


def ratios(results):
    """A table: each row of the bench beside its floor and beside the libraries of the same run."""
    ours = results.get("bench", {}).get("rows", {})
    theirs = results.get("baseline", {}).get("rows", {})
    limits = results.get("bench", {}).get("context", {})
    lines = [f"Commit {results.get('commit', 'unknown')}, {results.get('gpu', 'unknown GPU')}; copy "
             f"{limits.get('copy_GB/s', '?')} GB/s, products {limits.get('bf16_TFLOP/s', '?')} "
             "TFLOP/s.", "",
             "Times in microseconds; share: floor / time; ratio: the library's time / ours (above 1: "
             "ours is faster). Targets: of a sound level, and of what the device allows.", "",
             "| what | kernel | µs | floor | share | GB/s | TFLOP/s | library | its µs | ratio "
             "| level | device |",
             "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- | ---: | ---: | --- | --- |"]
    for name in [*ours, *(n for n in theirs if n not in ours)]:
        row = dict(ours.get(name, {}))
        us = row.get("us")
        libraries = sorted((v, k) for k, v in theirs.get(name, {}).items()
                           if isinstance(v, (int, float)))
        if us and libraries:
            row["ratio"] = libraries[0][0] / us
        level, device = next(((first, full) for pattern, first, full in TARGETS
                              if re.fullmatch(pattern, name)), (None, None))
        cells = [name, row.get("kernel", ""), number(us), number(row.get("floor_us")),
                 f"{row['share']:.2f}" if "share" in row else "", number(row.get("GB/s")),
                 number(row.get("TFLOP/s")), ", ".join(k for _, k in libraries),
                 ", ".join(number(v) for v, _ in libraries),
                 ", ".join(f"{v / us:.2f}" for v, _ in libraries) if us else "",
                 reached(level, row) if us else "", reached(device, row) if us else ""]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def number(value):
    return "" if value is None else f"{value:.1f}" if value < 1000 else f"{value:.0f}"
