"""Makes tiny_chat.gguf: a random llama model with a tokenizer and a chat template.

    python tests/golden/make_tiny_chat.py && git diff --stat tests/golden/tiny_chat.gguf

Small enough to be in the repository, complete enough to answer a chat message: the command line's
tests speak with it, and the launcher runs it once to learn which classes a start needs. Needs
numpy, safetensors and python-export.
"""

import json
import pathlib
import tempfile

import numpy as np
import safetensors.numpy
from sluice_export.cli import main as sluice_export

HIDDEN, INTERMEDIATE, LAYERS, Q_HEADS, KV_HEADS, HEAD_DIM = 32, 64, 1, 2, 1, 16
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = ["h e", "Ġ t", "Ġt he"]
TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nBe brief.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def byte_letters():
    """The alphabet of byte-level BPE: printable bytes stand for themselves, others from 256 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(256, 512))
    return [chr(b) if b in printable else chr(next(others)) for b in range(256)]


def tokenizer():
    tokens = SPECIAL + byte_letters() + [m.replace(" ", "") for m in MERGES]
    added = [
        {"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": True}
        for i, t in enumerate(SPECIAL)
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                  "use_regex": True}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level],
        },
        "post_processor": None, "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
            "vocab": {t: i for i, t in enumerate(tokens)}, "merges": MERGES,
        },
    }, len(tokens)


def weights(vocab_size):
    random = np.random.default_rng(0)
    shapes = {"model.embed_tokens.weight": (vocab_size, HIDDEN), "model.norm.weight": (HIDDEN,)}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        shapes |= {
            prefix + "input_layernorm.weight": (HIDDEN,),
            prefix + "post_attention_layernorm.weight": (HIDDEN,),
            prefix + "self_attn.q_proj.weight": (Q_HEADS * HEAD_DIM, HIDDEN),
            prefix + "self_attn.k_proj.weight": (KV_HEADS * HEAD_DIM, HIDDEN),
            prefix + "self_attn.v_proj.weight": (KV_HEADS * HEAD_DIM, HIDDEN),
            prefix + "self_attn.o_proj.weight": (HIDDEN, Q_HEADS * HEAD_DIM),
            prefix + "mlp.gate_proj.weight": (INTERMEDIATE, HIDDEN),
            prefix + "mlp.up_proj.weight": (INTERMEDIATE, HIDDEN),
            prefix + "mlp.down_proj.weight": (HIDDEN, INTERMEDIATE),
        }
    return {
        name: (np.ones(shape) if len(shape) == 1 else random.normal(0, 0.3, shape)).astype("f4")
        for name, shape in shapes.items()
    }


def main():
    target = pathlib.Path(__file__).with_name("tiny_chat.gguf")
    words, vocab_size = tokenizer()
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": vocab_size,
        "hidden_size": HIDDEN, "intermediate_size": INTERMEDIATE, "num_hidden_layers": LAYERS,
        "num_attention_heads": Q_HEADS, "num_key_value_heads": KV_HEADS, "head_dim": HEAD_DIM,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "max_position_embeddings": 256,
        "hidden_act": "silu", "tie_word_embeddings": True, "bos_token_id": 1, "eos_token_id": 2,
        "torch_dtype": "float32",
    }
    tokenizer_config = {
        "tokenizer_class": "GPT2Tokenizer", "bos_token": SPECIAL[1], "eos_token": SPECIAL[2],
        "chat_template": TEMPLATE,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name, "tiny-chat")
        folder.mkdir()
        for file, content in (("config.json", config), ("tokenizer.json", words),
                              ("tokenizer_config.json", tokenizer_config)):
            (folder / file).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        safetensors.numpy.save_file(weights(vocab_size), folder / "model.safetensors",
                                    {"format": "pt"})
        return sluice_export(["convert", str(folder), str(target), "--dtype", "bfloat16",
                              "--force"])


if __name__ == "__main__":
    raise SystemExit(main())
