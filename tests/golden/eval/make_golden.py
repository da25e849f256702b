#!/usr/bin/env python3
"""Makes two small checkpoints and what lm-eval answers with them.

    pip install './python-export[lm-eval]'
    python3 tests/golden/eval/make_golden.py [--data DIR] [--smollm2 FOLDER]

Random weights, a byte-level vocabulary of the first merges of SmolLM2's, and a context short enough
that some prompts are cut. `--data` is a folder of the real data sets, as `sluice eval fetch` leaves
it; without it only the answers to the project's own items are written. `--smollm2` is
SmolLM2-135M-Instruct converted to a float32 folder, which takes an hour.
"""

import argparse
import gzip
import json
import pathlib
import shutil

import numpy as np
import safetensors.numpy
from sluice_export.lm_eval_run import lm_eval

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[2]
OWN = ROOT / "java" / "sluice-eval" / "src" / "test" / "resources" / "data"
VOCAB, CONTEXT = 1024, 2048
HIDDEN, LAYERS, HEADS = 64, 3, 4
# The first items, of mmlu of each subject.
REAL = {"mmlu": 2, "mmlu_continuation": 1, "gsm8k": 24, "gsm8k_cot": 24, "humaneval": 12,
        "humaneval_instruct": 6}
REAL_CHAT = {"mmlu": 1, "gsm8k": 8, "humaneval_instruct": 4}
SAMPLE_SEED = 20261122

# Said more often than others, so that numbers are extracted and answers end in more than one way.
FAVOURED = {"eos": 1.25, "Ċ": 1.3, "#": 1.4, "$": 1.4, **{d: 1.6 for d in "0123456789"}}

LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "head_dim": 16,
    "intermediate_size": 128, "num_key_value_heads": 2, "rope_theta": 10000.0,
    "tie_word_embeddings": True,
}
DEEPSEEK = {
    "architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2",
    "num_key_value_heads": HEADS, "intermediate_size": 128, "moe_intermediate_size": 16,
    "n_routed_experts": 6, "n_shared_experts": 2, "num_experts_per_tok": 3, "n_group": 1,
    "topk_group": 1, "topk_method": "greedy", "scoring_func": "softmax", "norm_topk_prob": False,
    "routed_scaling_factor": 1.0, "first_k_dense_replace": 1, "moe_layer_freq": 1,
    "q_lora_rank": None, "kv_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8,
    "v_head_dim": 16, "tie_word_embeddings": False, "rope_theta": 10000.0,
    "rope_scaling": {"type": "yarn", "factor": 8.0, "original_max_position_embeddings": 256,
                     "beta_fast": 32, "beta_slow": 1, "mscale": 0.707, "mscale_all_dim": 0.707},
}
# One that keeps what it is given, and one that trims it and begins documents itself.
LLAMA_CHAT = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content"
    " + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% endif %}")
DEEPSEEK_CHAT = (
    "{{ bos_token }}{% for message in messages %}{% if message.role == 'system' %}"
    "{{ message.content | trim + '\n\n' }}{% elif message.role == 'user' %}"
    "{{ 'User: ' + message.content | trim + '\n\n' }}{% else %}"
    "{{ 'Assistant: ' + message.content | trim + eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}")
COMMON = {
    "vocab_size": VOCAB, "hidden_size": HIDDEN, "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS, "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-6,
    "hidden_act": "silu", "attention_bias": False, "mlp_bias": False, "bos_token_id": 0,
    "eos_token_id": 1, "torch_dtype": "float32",
}


def byte_letters():
    """The alphabet of byte-level BPE: printable bytes stand for themselves, others from 256 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(256, 512))
    return [chr(b) if b in printable else chr(next(others)) for b in range(256)]


def vocabulary(bos, eos):
    """The specials, 256 bytes, and as many of SmolLM2's merges as there is room for."""
    packed = HERE.parent / "tokenizers" / "smollm2_vocab.json.gz"
    metadata = json.loads(gzip.decompress(packed.read_bytes()))
    merges = [merge.split(" ") for merge in metadata["tokenizer.ggml.merges"]]
    letters = byte_letters()
    merges = merges[:VOCAB - 2 - len(letters)]
    return [bos, eos, *letters, *("".join(merge) for merge in merges)], merges


def tokenizer(bos, eos, begins):
    tokens, merges = vocabulary(bos, eos)
    added = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False, "special": True} for i, t in enumerate((bos, eos))]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                  "use_regex": True}
    # What puts the token that begins a document before every text.
    template = {"type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": bos, "type_id": 0}},
                           {"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [{"SpecialToken": {"id": bos, "type_id": 0}},
                         {"Sequence": {"id": "A", "type_id": 0}},
                         {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {bos: {"id": bos, "ids": [0], "tokens": [bos]}}}
    return tokens, {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": True}, byte_level]},
        "post_processor": template if begins else None, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None,
                  "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False,
                  "vocab": {t: i for i, t in enumerate(tokens)}, "merges": merges},
    }


def shapes(config):
    sizes = {"model.embed_tokens.weight": (VOCAB, HIDDEN), "model.norm.weight": (HIDDEN,)}
    if not config["tie_word_embeddings"]:
        sizes["lm_head.weight"] = (VOCAB, HIDDEN)
    for layer in range(LAYERS):
        block = f"model.layers.{layer}."
        sizes[block + "input_layernorm.weight"] = (HIDDEN,)
        sizes[block + "post_attention_layernorm.weight"] = (HIDDEN,)
        sizes |= {block + "self_attn." + name: size for name, size in attention(config).items()}
        mlp = config["intermediate_size"]
        if config["model_type"] == "deepseek_v2" and layer >= config["first_k_dense_replace"]:
            small = config["moe_intermediate_size"]
            sizes[block + "mlp.gate.weight"] = (config["n_routed_experts"], HIDDEN)
            for expert in range(config["n_routed_experts"]):
                sizes |= feed_forward(f"{block}mlp.experts.{expert}.", small)
            sizes |= feed_forward(block + "mlp.shared_experts.",
                                  small * config["n_shared_experts"])
        else:
            sizes |= feed_forward(block + "mlp.", mlp)
    return sizes


def attention(config):
    if config["model_type"] == "llama":
        keys = config["num_key_value_heads"] * config["head_dim"]
        queries = HEADS * config["head_dim"]
        return {"q_proj.weight": (queries, HIDDEN), "k_proj.weight": (keys, HIDDEN),
                "v_proj.weight": (keys, HIDDEN), "o_proj.weight": (HIDDEN, queries)}
    rank, nope = config["kv_lora_rank"], config["qk_nope_head_dim"]
    rope, values = config["qk_rope_head_dim"], config["v_head_dim"]
    return {"q_proj.weight": (HEADS * (nope + rope), HIDDEN),
            "kv_a_proj_with_mqa.weight": (rank + rope, HIDDEN),
            "kv_a_layernorm.weight": (rank,),
            "kv_b_proj.weight": (HEADS * (nope + values), rank),
            "o_proj.weight": (HIDDEN, HEADS * values)}


def feed_forward(prefix, size):
    return {prefix + "gate_proj.weight": (size, HIDDEN), prefix + "up_proj.weight": (size, HIDDEN),
            prefix + "down_proj.weight": (HIDDEN, size)}


def weights(config, tokens, seed):
    draw = np.random.Generator(np.random.PCG64(seed))
    values = {}
    for name, shape in shapes(config).items():
        if len(shape) == 1:
            values[name] = (1 + 0.1 * draw.standard_normal(shape)).astype("f4")
        else:
            # Answers that depend on the prompt and are seldom nearly undecided.
            scale = 0.3 if shape[0] == VOCAB else 1.2 / np.sqrt(shape[1])
            values[name] = (scale * draw.standard_normal(shape)).astype("f4")
    head = values.get("lm_head.weight", values["model.embed_tokens.weight"])
    for token, factor in FAVOURED.items():
        head[1 if token == "eos" else tokens.index(token)] *= np.float32(factor)
    return values


def checkpoint(name, config, seed, bos, eos, begins, chat):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    tokens, words = tokenizer(bos, eos, begins)
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": bos, "eos_token": eos,
                "add_bos_token": begins, "clean_up_tokenization_spaces": False,
                "model_max_length": CONTEXT, "chat_template": chat}
    for file, content in (("config.json", {**COMMON, **config}), ("tokenizer.json", words),
                          ("tokenizer_config.json", settings)):
        (folder / file).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n",
                                   encoding="utf-8")
    safetensors.numpy.save_file(weights({**COMMON, **config}, tokens, seed),
                                folder / "model.safetensors", {"format": "pt"})
    return folder


def answers(name, folder, data, **options):
    report = lm_eval(folder, HERE / f"{name}.jsonl.gz", data, force=True, **options)
    print("\n".join(report.lines()), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--smollm2", type=pathlib.Path)
    parser.add_argument("--model", choices=("deepseek_v2", "llama"), help="only this one")
    options = parser.parse_args()
    if options.smollm2 and not options.data:
        parser.error("--smollm2 needs --data")
    models = {
        "deepseek_v2": checkpoint("deepseek_v2", DEEPSEEK, 21, "<｜begin▁of▁sentence｜>",
                                  "<｜end▁of▁sentence｜>", True, DEEPSEEK_CHAT),
        "llama": checkpoint("llama", LLAMA, 22, "<|im_start|>", "<|im_end|>", False, LLAMA_CHAT),
    }
    for name, folder in models.items():
        if options.model not in (None, name):
            continue
        for chat in (False, True):
            for task, shots in (("mmlu", 2), ("mmlu_continuation", 2), ("gsm8k", None),
                                ("gsm8k_cot", None), ("humaneval", None),
                                ("humaneval_instruct", None)):
                answers(f"{name}-own-{'chat_' * chat}{task}", folder, OWN, task=task, shots=shots,
                        chat=chat)
        if options.data:
            for task, count in REAL.items():
                answers(f"{name}-{task}", folder, options.data, task=task, first=count,
                        shots=5 if task.startswith("mmlu") else None, batch_size=8)
            for task, count in REAL_CHAT.items():
                answers(f"{name}-chat_{task}", folder, options.data, task=task, first=count,
                        shots=5 if task.startswith("mmlu") else None, batch_size=8, chat=True)
    if options.smollm2:
        answers("smollm2-mmlu", options.smollm2, options.data, task="mmlu", shots=5, sample=200,
                seed=SAMPLE_SEED)
        # One by one: rows of a batch wait for each other's stops.
        answers("smollm2-humaneval", options.smollm2, options.data, task="humaneval", first=164)
        answers("smollm2-gsm8k", options.smollm2, options.data, task="gsm8k", first=8,
                batch_size=4)


if __name__ == "__main__":
    main()
