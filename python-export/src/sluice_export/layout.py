"""Tensors of the four dense families: names, shapes, and how GGUF keeps them."""

from dataclasses import dataclass
from typing import Optional, Tuple

from sluice_export.errors import ExportError

ROPE_FREQS = "rope_freqs.weight"

# Rotary frequencies that old exports stored; every loader computes them.
_DERIVED_SUFFIX = ".rotary_emb.inv_freq"


@dataclass(frozen=True)
class Slot:
  """One expected tensor.

  Attributes:
    hf_name: name in a Hugging Face checkpoint.
    gguf_name: name in a GGUF file.
    shape: sizes, slowest axis first, the same in both.
    rotary_heads: heads whose rows GGUF keeps in another order (see to_gguf_rows), or None.
  """

  hf_name: str
  gguf_name: str
  shape: Tuple[int, ...]
  rotary_heads: Optional[int] = None


def slots(model):
  """Returns the tensors that a ModelConfig asks for."""
  hidden, inner = model.hidden_size, model.intermediate_size
  q_rows = model.num_q_heads * model.head_dim
  kv_rows = model.num_kv_heads * model.head_dim
  # llama.cpp rotates neighbouring pairs for its architecture `llama`, to which mistral belongs.
  pairs = model.family in ("llama", "mistral")
  q_heads = model.num_q_heads if pairs else None
  kv_heads = model.num_kv_heads if pairs else None
  result = [
      Slot("model.embed_tokens.weight", "token_embd.weight", (model.vocab_size, hidden)),
      Slot("model.norm.weight", "output_norm.weight", (hidden,)),
  ]
  if not model.tie_word_embeddings:
    result.append(Slot("lm_head.weight", "output.weight", (model.vocab_size, hidden)))
  for layer in range(model.num_layers):
    hf, gguf = f"model.layers.{layer}.", f"blk.{layer}."

    def add(hf_name, gguf_name, shape, heads=None):
      result.append(Slot(hf + hf_name, gguf + gguf_name, shape, heads))

    add("input_layernorm.weight", "attn_norm.weight", (hidden,))
    for part, name, rows, heads in (("q", "attn_q", q_rows, q_heads),
                                    ("k", "attn_k", kv_rows, kv_heads),
                                    ("v", "attn_v", kv_rows, None),
                                    ("o", "attn_output", hidden, None)):
      columns = q_rows if part == "o" else hidden
      add(f"self_attn.{part}_proj.weight", f"{name}.weight", (rows, columns), heads)
      if part in model.attention_bias:
        add(f"self_attn.{part}_proj.bias", f"{name}.bias", (rows,), heads)
      if model.has_qk_norm and part in "qk":
        add(f"self_attn.{part}_norm.weight", f"{name}_norm.weight", (model.head_dim,))
    add("post_attention_layernorm.weight", "ffn_norm.weight", (hidden,))
    for part, rows, columns in (("gate", inner, hidden), ("up", inner, hidden),
                                ("down", hidden, inner)):
      add(f"mlp.{part}_proj.weight", f"ffn_{part}.weight", (rows, columns))
      if model.mlp_bias:
        add(f"mlp.{part}_proj.bias", f"ffn_{part}.bias", (rows,))
  return result


def to_gguf_rows(heads):
  """Returns the function that brings rows from halves to neighbouring pairs, head by head.

  Hugging Face rotates row i of a head with row i + head_dim / 2; GGUF's `llama` rotates row 2 i
  with row 2 i + 1.
  """
  def permute(values):
    split = values.reshape(heads, 2, values.shape[0] // heads // 2, -1)
    return split.swapaxes(1, 2).reshape(values.shape)
  return permute


def from_gguf_rows(heads):
  """Returns the inverse of to_gguf_rows."""
  def permute(values):
    split = values.reshape(heads, values.shape[0] // heads // 2, 2, -1)
    return split.swapaxes(1, 2).reshape(values.shape)
  return permute


def match(source, tensors, expected, attribute, ignored=()):
  """Pairs the expected slots with the tensors of a checkpoint.

  Args:
    source: the checkpoint's name, for messages.
    tensors: list of Tensor.
    expected: list of Slot.
    attribute: "hf_name" or "gguf_name".
    ignored: names that may be there and are dropped.

  Returns:
    List of (Slot, Tensor) in the order of `expected`.

  Raises:
    ExportError: a tensor is missing, has another shape, or was not expected.
  """
  by_name = {tensor.name: tensor for tensor in tensors}
  pairs = []
  for slot in expected:
    name = getattr(slot, attribute)
    tensor = by_name.pop(name, None)
    if tensor is None:
      raise ExportError(source, f"tensor {name} is missing", expected=f"shape {list(slot.shape)}",
                        remedy="check config.json against the weights")
    if tensor.shape != slot.shape:
      raise ExportError(source, f"tensor {name} has shape {list(tensor.shape)}",
                        expected=list(slot.shape), remedy="check config.json against the weights")
    pairs.append((slot, tensor))
  extra = sorted(name for name in by_name
                 if name not in ignored and not name.endswith(_DERIVED_SUFFIX))
  if extra:
    raise ExportError(source, f"tensor {extra[0]} was not expected ({len(extra)} such)",
                      expected="only tensors of its architecture",
                      remedy="check model_type and the biases in config.json")
  return pairs
