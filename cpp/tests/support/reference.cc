#include "support/reference.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <numeric>
#include <random>

#include "support/reference_adaptive.h"
#include "support/reference_parts.h"

namespace sluice::test {
namespace {

const std::vector<float> kNone;

class Reference {
 public:
  Reference(const ModelSpec& spec, const WeightValues& weights,
            std::vector<MoeDecisions>* decisions)
      : spec_(spec), weights_(weights), decisions_(decisions) {
    if (decisions != nullptr) decisions->assign(spec.layers.size(), {});
  }

  Rows run(const std::vector<int32_t>& ids) {
    const auto& table = weights_.get(SLUICE__PROTO__SLOT__EMBED_TOKENS, -1, 0);
    const size_t hidden = static_cast<size_t>(spec_.hidden_size);
    Rows x;
    for (int32_t id : ids) {
      std::vector<double> row(table.begin() + id * hidden, table.begin() + (id + 1) * hidden);
      for (double& value : row) value *= spec_.embedding_multiplier;
      x.push_back(norm(spec_.embedding_norm, SLUICE__PROTO__SLOT__EMBED_NORM, -1, row));
    }
    for (size_t l = 0; l < spec_.layers.size(); ++l) add_layer(static_cast<int>(l), &x);
    Rows logits;
    const int matrix =
        spec_.heads[0].tied ? SLUICE__PROTO__SLOT__EMBED_TOKENS : SLUICE__PROTO__SLOT__HEAD;
    for (const auto& row : x) {
      auto out =
          linear(weights_.get(matrix, -1, 0), weights_.get(SLUICE__PROTO__SLOT__HEAD_BIAS, -1, 0),
                 norm(spec_.final_norm, SLUICE__PROTO__SLOT__FINAL_NORM, -1, row));
      for (double& value : out)
        value = cap(value * spec_.heads[0].logit_multiplier, spec_.heads[0].logit_soft_cap);
      logits.push_back(out);
    }
    return logits;
  }

 private:
  static double cap(double value, double limit) {
    return limit == 0 ? value : limit * std::tanh(value / limit);
  }

  // Columns [begin, begin + size) of a row with `size` weights from `weight_begin` on.
  void norm_span(const NormSpec& spec, const std::vector<float>& weight,
                 const std::vector<float>& bias, size_t begin, size_t size, size_t weight_begin,
                 std::vector<double>* row) const {
    double mean = 0;
    if (spec.kind == NormKind::kLayerNorm) {
      for (size_t i = 0; i < size; ++i) mean += (*row)[begin + i] / static_cast<double>(size);
    }
    double square = 0;
    for (size_t i = 0; i < size; ++i) {
      square += std::pow((*row)[begin + i] - mean, 2) / static_cast<double>(size);
    }
    for (size_t i = 0; i < size; ++i) {
      double& value = (*row)[begin + i];
      value = (value - mean) / std::sqrt(square + spec.eps);
      if (!weight.empty()) value *= weight[weight_begin + i] + spec.weight_offset;
      if (!bias.empty()) value += bias[weight_begin + i];
    }
  }

  std::vector<double> norm(const std::optional<NormSpec>& spec, int slot, int layer,
                           std::vector<double> row) const {
    if (spec) {
      norm_span(*spec, weights_.get(slot, layer, 0), weights_.get(slot + 1, layer, 0), 0,
                row.size(), 0, &row);
    }
    return row;
  }

  void norm_heads(const std::optional<NormSpec>& spec, int slot, int layer, size_t head_dim,
                  std::vector<double>* row) const {
    if (!spec) return;
    const auto& weight = weights_.get(slot, layer, 0);
    const auto& bias = weights_.get(slot + 1, layer, 0);
    if (spec->scope == NormScope::kWholeRow) {
      norm_span(*spec, weight, bias, 0, row->size(), 0, row);
      return;
    }
    for (size_t begin = 0; begin < row->size(); begin += head_dim) {
      norm_span(*spec, weight, bias, begin, head_dim,
                spec->scope == NormScope::kPerHeadOwnWeights ? begin : 0, row);
    }
  }

  // Turns columns of every head, the first of them at `offset`.
  void rotate(int index, size_t head_dim, size_t offset, size_t position,
              std::vector<double>* row) const {
    if (index < 0) return;
    const RopeSpec& rope = spec_.ropes[index];
    const int pairs = rope.rotary_dim / 2;
    for (size_t begin = offset; begin < row->size(); begin += head_dim) {
      for (int p = 0; p < pairs; ++p) {
        const double angle = static_cast<double>(position) * rope.variants[0].inv_freq[p];
        const double scale = rope.variants[0].attention_scale;
        double& a = (*row)[begin + (rope.interleaved ? 2 * p : p)];
        double& b = (*row)[begin + (rope.interleaved ? 2 * p + 1 : p + pairs)];
        const double turned = (a * std::cos(angle) - b * std::sin(angle)) * scale;
        b = (b * std::cos(angle) + a * std::sin(angle)) * scale;
        a = turned;
      }
    }
  }

  Rows project(const Rows& x, int layer, Sluice__Proto__Part part, double clamp) const {
    Rows y;
    for (const auto& row : x) {
      y.push_back(linear(weights_.get(SLUICE__PROTO__SLOT__QKV, layer, part),
                         weights_.get(SLUICE__PROTO__SLOT__QKV_BIAS, layer, part), row));
      if (clamp == 0) continue;
      for (double& value : y.back()) value = std::clamp(value, -clamp, clamp);
    }
    return y;
  }

  // Factors of the heads' output; none without a gate.
  Rows gates(const GqaSpec& gqa, int layer, const Rows& x) const {
    if (!gqa.output_gate) return {};
    Rows out;
    for (const auto& row : x) {
      out.push_back(linear(weights_.get(SLUICE__PROTO__SLOT__OUTPUT_GATE, layer, 0), kNone, row));
      for (double& value : out.back()) value = sigmoid(value);
    }
    return out;
  }

  Rows attend(const GqaSpec& gqa, int layer, const Rows& x) const {
    Rows q = project(x, layer, SLUICE__PROTO__PART__PART_Q, gqa.qkv_clamp);
    Rows k = project(x, layer, SLUICE__PROTO__PART__PART_K, gqa.qkv_clamp);
    const Rows v = project(x, layer, SLUICE__PROTO__PART__PART_V, gqa.qkv_clamp);
    const size_t dim = static_cast<size_t>(gqa.head_dim);
    for (size_t t = 0; t < x.size(); ++t) {
      if (gqa.norm_after_rope) {
        rotate(gqa.rope, dim, 0, t, &q[t]);
        rotate(gqa.rope, dim, 0, t, &k[t]);
      }
      norm_heads(gqa.q_norm, SLUICE__PROTO__SLOT__Q_NORM, layer, dim, &q[t]);
      norm_heads(gqa.k_norm, SLUICE__PROTO__SLOT__K_NORM, layer, dim, &k[t]);
      if (!gqa.norm_after_rope) {
        rotate(gqa.rope, dim, 0, t, &q[t]);
        rotate(gqa.rope, dim, 0, t, &k[t]);
      }
    }
    return mix({gqa.num_q_heads, gqa.num_kv_heads, dim, dim, gqa.softmax_scale, gqa.logit_soft_cap,
                weights_.get(SLUICE__PROTO__SLOT__SINKS, layer, 0)},
               layer, q, k, v, gates(gqa, layer, x));
  }

  // Keys and values of every head from the latent, as the formulas of the decompressed form say.
  Rows attend(const MlaSpec& mla, int layer, const Rows& x) const {
    const auto get = [&](int slot) -> const std::vector<float>& {
      return weights_.get(slot, layer, 0);
    };
    // No bias slot follows these norms' weights.
    const auto normed = [&](const std::optional<NormSpec>& spec, int slot,
                            std::vector<double> row) {
      if (spec) norm_span(*spec, get(slot), kNone, 0, row.size(), 0, &row);
      return row;
    };
    const auto rank = static_cast<size_t>(mla.kv_lora_rank);
    const auto nope = static_cast<size_t>(mla.qk_nope_head_dim);
    const auto v_dim = static_cast<size_t>(mla.v_head_dim);
    const auto dim = static_cast<size_t>(mla.qk_head_dim());
    Rows q, k, v;
    for (size_t t = 0; t < x.size(); ++t) {
      std::vector<double> row = x[t];
      if (mla.q_lora_rank > 0) {
        row =
            normed(mla.q_a_norm, SLUICE__PROTO__SLOT__Q_A_NORM,
                   linear(get(SLUICE__PROTO__SLOT__Q_A), get(SLUICE__PROTO__SLOT__Q_A_BIAS), row));
      }
      q.push_back(linear(get(SLUICE__PROTO__SLOT__Q_B), kNone, row));
      rotate(mla.rope, dim, nope, t, &q.back());
      const auto both =
          linear(get(SLUICE__PROTO__SLOT__KV_A), get(SLUICE__PROTO__SLOT__KV_A_BIAS), x[t]);
      const auto split = both.begin() + static_cast<std::ptrdiff_t>(rank);
      const auto latent =
          normed(mla.kv_a_norm, SLUICE__PROTO__SLOT__KV_A_NORM, {both.begin(), split});
      std::vector<double> rotary(split, both.end());
      rotate(mla.rope, rotary.size(), 0, t, &rotary);
      const auto heads = linear(get(SLUICE__PROTO__SLOT__KV_B), kNone, latent);
      k.emplace_back();
      v.emplace_back();
      for (size_t h = 0; h < static_cast<size_t>(mla.num_q_heads); ++h) {
        const auto head = heads.begin() + static_cast<std::ptrdiff_t>(h * (nope + v_dim));
        const auto values = head + static_cast<std::ptrdiff_t>(nope);
        k.back().insert(k.back().end(), head, values);
        k.back().insert(k.back().end(), rotary.begin(), rotary.end());
        v.back().insert(v.back().end(), values, values + static_cast<std::ptrdiff_t>(v_dim));
      }
    }
    return mix({mla.num_q_heads, mla.num_q_heads, dim, v_dim, mla.softmax_scale, 0, kNone}, layer,
               q, k, v);
  }

  Rows attend(const AdaptiveSpec& spec, int layer, const Rows& x) const {
    return adaptive_attention(spec, weights_, layer, x, nullptr);
  }

  struct Heads {
    int num_q_heads, num_kv_heads;
    size_t k_dim, v_dim;
    double scale, soft_cap;
    const std::vector<float>& sinks;
  };

  // Softmax attention and the output projection.
  Rows mix(const Heads& heads, int layer, const Rows& q, const Rows& k, const Rows& v,
           const Rows& factors = {}) const {
    const int window = spec_.kv_groups[spec_.layers[layer].kv_group].window;
    Rows out;
    for (size_t t = 0; t < q.size(); ++t) {
      std::vector<double> row(static_cast<size_t>(heads.num_q_heads) * heads.v_dim);
      for (size_t h = 0; h < static_cast<size_t>(heads.num_q_heads); ++h) {
        const size_t kv = h / static_cast<size_t>(heads.num_q_heads / heads.num_kv_heads);
        const size_t first =
            window > 0 && static_cast<int>(t) >= window ? t - static_cast<size_t>(window) + 1 : 0;
        std::vector<double> weight;
        double sum = heads.sinks.empty() ? 0 : std::exp(double{heads.sinks[h]});
        for (size_t j = first; j <= t; ++j) {
          double score = 0;
          for (size_t d = 0; d < heads.k_dim; ++d) {
            score += q[t][h * heads.k_dim + d] * k[j][kv * heads.k_dim + d];
          }
          weight.push_back(std::exp(cap(score * heads.scale, heads.soft_cap)));
          sum += weight.back();
        }
        for (size_t j = first; j <= t; ++j) {
          for (size_t d = 0; d < heads.v_dim; ++d) {
            row[h * heads.v_dim + d] += weight[j - first] / sum * v[j][kv * heads.v_dim + d];
          }
        }
      }
      for (size_t i = 0; i < row.size() && !factors.empty(); ++i) row[i] *= factors[t][i];
      out.push_back(linear(weights_.get(SLUICE__PROTO__SLOT__O, layer, 0),
                           weights_.get(SLUICE__PROTO__SLOT__O_BIAS, layer, 0), row));
    }
    return out;
  }

  Rows feed_forward(const DenseSpec& dense, int layer, const Rows& x) const {
    Rows out;
    for (const auto& row : x) {
      out.push_back(mlp(weights_, {SLUICE__PROTO__SLOT__GATE_UP, SLUICE__PROTO__SLOT__DOWN},
                        dense.activation, dense.gated, layer, row));
    }
    return out;
  }

  Rows feed_forward(const MoeSpec& spec, int layer, const Rows& x) const {
    return moe(spec, weights_, layer, x, decisions_ == nullptr ? nullptr : &(*decisions_)[layer]);
  }

  void add_layer(int l, Rows* x) const {
    const LayerSpec& layer = spec_.layers[l];
    const Rows before = *x;
    Rows in;
    for (const auto& row : before) {
      in.push_back(norm(layer.attention_norm, SLUICE__PROTO__SLOT__ATTENTION_NORM, l, row));
    }
    const Rows out =
        std::visit([&](const auto& kind) { return attend(kind, l, in); }, layer.attention);
    for (size_t t = 0; t < x->size(); ++t) {
      add(norm(layer.post_attention_norm, SLUICE__PROTO__SLOT__POST_ATTENTION_NORM, l, out[t]),
          layer.residual_multiplier, &(*x)[t]);
    }
    for (size_t t = 0; t < x->size(); ++t) {
      in[t] = norm(layer.feed_forward_norm, SLUICE__PROTO__SLOT__FEED_FORWARD_NORM, l,
                   layer.parallel_residual ? before[t] : (*x)[t]);
    }
    const Rows fed =
        std::visit([&](const auto& kind) { return feed_forward(kind, l, in); }, layer.feed_forward);
    for (size_t t = 0; t < x->size(); ++t) {
      add(norm(layer.post_feed_forward_norm, SLUICE__PROTO__SLOT__POST_FEED_FORWARD_NORM, l,
               fed[t]),
          layer.residual_multiplier, &(*x)[t]);
    }
  }

  static void add(const std::vector<double>& y, double multiplier, std::vector<double>* x) {
    for (size_t i = 0; i < y.size(); ++i) (*x)[i] += multiplier * y[i];
  }

  const ModelSpec& spec_;
  const WeightValues& weights_;
  std::vector<MoeDecisions>* decisions_;
};

}  // namespace

WeightValues::WeightValues(const Sluice__Proto__WeightSlotList& slots) {
  std::mt19937 random(7);
  for (size_t s = 0; s < slots.n_slots; ++s) {
    const Sluice__Proto__WeightSlot& slot = *slots.slots[s];
    for (size_t p = 0; p < slot.n_parts; ++p) {
      const Sluice__Proto__WeightPart& part = *slot.parts[p];
      Tensor& tensor = tensors_[{slot.slot, slot.layer, part.part, static_cast<int>(slot.head)}];
      tensor.shape.assign(part.shape, part.shape + part.n_shape);
      if (slot.num_experts > 0) tensor.shape.insert(tensor.shape.begin(), slot.num_experts);
      const bool matrix = part.n_shape == 2;
      const double columns = matrix ? static_cast<double>(part.shape[1]) : 1;
      const bool embedding = slot.slot == SLUICE__PROTO__SLOT__EMBED_TOKENS;
      std::normal_distribution<float> normal(0, static_cast<float>(embedding ? 1
                                                                   : matrix ? 1 / std::sqrt(columns)
                                                                            : 0.3));
      tensor.values.resize(std::accumulate(tensor.shape.begin(), tensor.shape.end(), uint64_t{1},
                                           std::multiplies<>()));
      const std::string name = proto_enum_name(sluice__proto__slot__descriptor, slot.slot);
      const bool norm_weight = name.size() > 4 && name.substr(name.size() - 4) == "NORM";
      for (float& value : tensor.values) value = normal(random) + (norm_weight ? 1.0f : 0.0f);
    }
  }
}

Sluice__Proto__WeightTransferList* WeightValues::write(const std::string& path,
                                                       ProtoArena* arena) const {
  std::ofstream out(path, std::ios::binary);
  std::vector<Sluice__Proto__WeightTransfer*> transfers;
  uint64_t offset = 0;
  for (const auto& [key, tensor] : tensors_) {
    auto* destination = arena->make(sluice__proto__weight_destination__init);
    destination->has_slot = destination->has_layer = destination->has_part = 1;
    destination->slot = static_cast<Sluice__Proto__Slot>(std::get<0>(key));
    destination->layer = std::get<1>(key);
    destination->part = static_cast<Sluice__Proto__Part>(std::get<2>(key));
    destination->has_head = 1;
    destination->head = static_cast<uint32_t>(std::get<3>(key));
    auto* source = arena->make(sluice__proto__weight_source__init);
    source->has_file = source->has_offset = source->has_bytes = source->has_format = 1;
    source->format = SLUICE__PROTO__FORMAT__F32;
    source->offset = offset;
    source->bytes = tensor.values.size() * 4;
    source->n_shape = tensor.shape.size();
    source->shape = arena->array(tensor.shape);
    auto* transfer = arena->make(sluice__proto__weight_transfer__init);
    transfer->destination = destination;
    transfer->source = source;
    transfers.push_back(transfer);
    out.write(reinterpret_cast<const char*>(tensor.values.data()),
              static_cast<std::streamsize>(source->bytes));
    offset += source->bytes;
  }
  auto* list = arena->make(sluice__proto__weight_transfer_list__init);
  list->n_files = 1;
  list->files = arena->array(std::vector{arena->text(path)});
  list->n_transfers = transfers.size();
  list->transfers = arena->array(transfers);
  return list;
}

const std::vector<float>& WeightValues::get(int slot, int layer, int part, int head) const {
  const auto found = tensors_.find({slot, layer, part, head});
  return found == tensors_.end() ? kNone : found->second.values;
}

Rows reference_logits(const ModelSpec& spec, const WeightValues& weights,
                      const std::vector<int32_t>& ids, std::vector<MoeDecisions>* decisions) {
  return Reference(spec, weights, decisions).run(ids);
}

}  // namespace sluice::test
