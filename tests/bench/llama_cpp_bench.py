#!/usr/bin/env python3
"""Prefill and decode speed of llama.cpp, in the manner of llama-bench, through llama-cpp-python.

Random token ids, one sequence, a cleared cache before each measurement, one warm-up of each kind.
Prints one JSON object: {"system": ..., "pp": [tokens/s, ...], "tg": [tokens/s, ...]}.
"""
import argparse
import ctypes
import json
import os
import random
import sys
import time

import llama_cpp as ll


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("-p", "--prompt", type=int, default=512)
    parser.add_argument("-n", "--generate", type=int, default=128)
    parser.add_argument("-r", "--repetitions", type=int, default=1)
    parser.add_argument("-t", "--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()

    quiet = ll.llama_log_callback(lambda level, text, data: None)
    ll.llama_log_set(quiet, ctypes.c_void_p(0))
    ll.llama_backend_init()
    model = ll.llama_model_load_from_file(
        args.model.encode(), ll.llama_model_default_params())
    if not model:
        sys.exit(f"{args.model}: llama.cpp could not load it")
    params = ll.llama_context_default_params()
    params.n_ctx = args.prompt + args.generate
    params.n_batch = max(args.prompt, 1)
    params.n_ubatch = min(512, max(args.prompt, 1))
    params.n_threads = args.threads
    params.n_threads_batch = args.threads
    context = ll.llama_init_from_model(model, params)
    vocab = ll.llama_vocab_n_tokens(ll.llama_model_get_vocab(model))
    memory = ll.llama_get_memory(context)
    rng = random.Random(7)
    batch = ll.llama_batch_init(max(args.prompt, 1), 0, 1)

    def decode(tokens, position):
        batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            batch.token[i] = token
            batch.pos[i] = position + i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = 0
            batch.logits[i] = i == len(tokens) - 1
        if ll.llama_decode(context, batch) != 0:
            sys.exit("llama_decode failed")

    def prefill():
        ll.llama_memory_clear(memory, True)
        tokens = [rng.randrange(vocab) for _ in range(args.prompt)]
        start = time.perf_counter()
        decode(tokens, 0)
        ll.llama_synchronize(context)
        return args.prompt / (time.perf_counter() - start)

    def generate():
        ll.llama_memory_clear(memory, True)
        tokens = [rng.randrange(vocab) for _ in range(args.generate)]
        start = time.perf_counter()
        for i, token in enumerate(tokens):
            decode([token], i)
            ll.llama_synchronize(context)
        return args.generate / (time.perf_counter() - start)

    result = {"system": ll.llama_print_system_info().decode().strip(),
              "version": ll.__name__ + "-python " + __import__("llama_cpp").__version__,
              "pp": [], "tg": []}
    if args.prompt:
        prefill()
        result["pp"] = [prefill() for _ in range(args.repetitions)]
    if args.generate:
        generate()
        result["tg"] = [generate() for _ in range(args.repetitions)]
    print(json.dumps(result))


if __name__ == "__main__":
    main()
