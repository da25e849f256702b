// The weights of each layer kind, and how ranks would share them.
#include "layers/mla.h"
#include "model/slot_list.h"

namespace sluice {
namespace {

constexpr ShardAxis kReplicated = ShardAxis::kReplicated;
constexpr ShardAxis kRows = ShardAxis::kRows;
constexpr ShardAxis kColumns = ShardAxis::kColumns;

static_assert(SLUICE__PROTO__SLOT__Q_NORM_BIAS == SLUICE__PROTO__SLOT__Q_NORM + 1);
static_assert(SLUICE__PROTO__SLOT__FINAL_NORM_BIAS == SLUICE__PROTO__SLOT__FINAL_NORM + 1);

void head_norm(Slot slot, const std::optional<NormSpec>& norm, int64_t heads, int64_t head_dim,
               SlotList* slots) {
  if (!norm) return;
  // Over a whole row of heads, or with weights of its own for every head, it is split as they are.
  const bool shared = norm->scope == NormScope::kPerHead;
  slots->norm(slot, *norm, shared ? head_dim : heads * head_dim, shared ? kReplicated : kRows);
}

std::vector<WeightPart> gate_up_parts(bool gated, int64_t intermediate_size) {
  std::vector<WeightPart> parts;
  if (gated) parts.push_back(slot_part(SLUICE__PROTO__PART__PART_GATE, intermediate_size, kRows));
  parts.push_back(slot_part(SLUICE__PROTO__PART__PART_UP, intermediate_size, kRows));
  return parts;
}

struct FeedForwardSlots {
  Slot gate_up;
  Slot gate_up_bias;
  Slot down;
  Slot down_bias;
};

void feed_forward(const FeedForwardSlots& names, const DenseSpec& dense, int64_t hidden,
                  int num_experts, SlotList* slots) {
  const int64_t size = dense.intermediate_size;
  slots->matrix(names.gate_up, gate_up_parts(dense.gated, size), hidden, num_experts);
  if (dense.gate_up_bias) {
    std::vector<WeightPart> parts = gate_up_parts(dense.gated, size);
    if (dense.gated) parts[1].row_begin = size;
    slots->vector(names.gate_up_bias, parts, size * static_cast<int64_t>(parts.size()),
                  num_experts);
  }
  slots->matrix(names.down, kColumns, hidden, size, num_experts);
  if (dense.down_bias) slots->vector(names.down_bias, kReplicated, hidden, num_experts);
}

}  // namespace

void declare_slots(const GqaSpec& gqa, int64_t hidden, SlotList* slots) {
  const int64_t q = gqa.q_size();
  const int64_t kv = gqa.kv_size();
  const std::vector<WeightPart> parts = {slot_part(SLUICE__PROTO__PART__PART_Q, q, kRows),
                                         slot_part(SLUICE__PROTO__PART__PART_K, kv, kRows),
                                         slot_part(SLUICE__PROTO__PART__PART_V, kv, kRows)};
  slots->matrix(SLUICE__PROTO__SLOT__QKV, parts, hidden);
  if (gqa.qkv_bias()) {
    std::vector<WeightPart> biased;
    const bool has[3] = {gqa.q_bias, gqa.k_bias, gqa.v_bias};
    const int64_t begin[3] = {0, q, q + kv};
    for (int i = 0; i < 3; ++i) {
      if (!has[i]) continue;
      biased.push_back(parts[i]);
      biased.back().row_begin = begin[i];
    }
    slots->vector(SLUICE__PROTO__SLOT__QKV_BIAS, std::move(biased), gqa.qkv_size());
  }
  head_norm(SLUICE__PROTO__SLOT__Q_NORM, gqa.q_norm, gqa.num_q_heads, gqa.head_dim, slots);
  head_norm(SLUICE__PROTO__SLOT__K_NORM, gqa.k_norm, gqa.num_kv_heads, gqa.head_dim, slots);
  if (gqa.output_gate) slots->matrix(SLUICE__PROTO__SLOT__OUTPUT_GATE, kRows, q, hidden);
  if (gqa.sinks) slots->vector(SLUICE__PROTO__SLOT__SINKS, kRows, gqa.num_q_heads);
  slots->matrix(SLUICE__PROTO__SLOT__O, kColumns, hidden, q);
  if (gqa.o_bias) slots->vector(SLUICE__PROTO__SLOT__O_BIAS, kReplicated, hidden);
}

void declare_slots(const MlaSpec& mla, int64_t hidden, SlotList* slots) {
  const bool compressed = mla.q_lora_rank > 0;
  if (compressed) {
    slots->matrix(SLUICE__PROTO__SLOT__Q_A, kReplicated, mla.q_lora_rank, hidden);
    if (mla.bias) slots->vector(SLUICE__PROTO__SLOT__Q_A_BIAS, kReplicated, mla.q_lora_rank);
    slots->norm(SLUICE__PROTO__SLOT__Q_A_NORM, mla.q_a_norm, mla.q_lora_rank);
  }
  slots->matrix(SLUICE__PROTO__SLOT__Q_B, kRows, mla.q_size(),
                compressed ? mla.q_lora_rank : hidden);
  slots->matrix(SLUICE__PROTO__SLOT__KV_A, kReplicated, mla.latent_size(), hidden);
  if (mla.bias) slots->vector(SLUICE__PROTO__SLOT__KV_A_BIAS, kReplicated, mla.latent_size());
  slots->norm(SLUICE__PROTO__SLOT__KV_A_NORM, mla.kv_a_norm, mla.kv_lora_rank);
  slots->matrix(SLUICE__PROTO__SLOT__KV_B, kRows,
                mla.num_q_heads * (int64_t{mla.qk_nope_head_dim} + mla.v_head_dim),
                mla.kv_lora_rank);
  slots->derive({"absorbed_uk", "absorbed_uv"},
                absorbed_bytes(mla, slots->compute_format(), slots->packing()));
  slots->matrix(SLUICE__PROTO__SLOT__O, kColumns, hidden, mla.o_size());
  if (mla.bias) slots->vector(SLUICE__PROTO__SLOT__O_BIAS, kReplicated, hidden);
}

void declare_slots(const AdaptiveSpec& adaptive, int64_t hidden, SlotList* slots) {
  const int64_t size = adaptive.q_size();
  std::vector<WeightPart> parts = {slot_part(SLUICE__PROTO__PART__PART_Q, size, kRows),
                                   slot_part(SLUICE__PROTO__PART__PART_K, size, kRows),
                                   slot_part(SLUICE__PROTO__PART__PART_V, size, kRows)};
  slots->matrix(SLUICE__PROTO__SLOT__QKV, parts, hidden);
  if (adaptive.qkv_bias) {
    for (int i = 0; i < 3; ++i) parts[i].row_begin = i * size;
    slots->vector(SLUICE__PROTO__SLOT__QKV_BIAS, parts, 3 * size);
  }
  slots->table(SLUICE__PROTO__SLOT__RELATIVE_POSITION, kRows, adaptive.num_q_heads,
               adaptive.relative_positions);
  if (adaptive.sparse_gate) {
    slots->decision_matrix(SLUICE__PROTO__SLOT__SPARSE_GATE, kRows, adaptive.num_q_heads, hidden);
    slots->vector(SLUICE__PROTO__SLOT__SPARSE_GATE_BIAS, kRows, adaptive.num_q_heads);
  }
  if (adaptive.kind == AdaptiveKind::kDensity) {
    slots->decision_matrix(SLUICE__PROTO__SLOT__DENSITY, kReplicated, 1, hidden);
    slots->vector(SLUICE__PROTO__SLOT__DENSITY_BIAS, kReplicated, 1);
  }
  slots->matrix(SLUICE__PROTO__SLOT__O, kColumns, hidden, size);
  if (adaptive.o_bias) slots->vector(SLUICE__PROTO__SLOT__O_BIAS, kReplicated, hidden);
}

void declare_slots(const DenseSpec& dense, int64_t hidden, SlotList* slots) {
  feed_forward({SLUICE__PROTO__SLOT__GATE_UP, SLUICE__PROTO__SLOT__GATE_UP_BIAS,
                SLUICE__PROTO__SLOT__DOWN, SLUICE__PROTO__SLOT__DOWN_BIAS},
               dense, hidden, 0, slots);
}

void declare_slots(const MoeSpec& moe, int64_t hidden, SlotList* slots) {
  const bool network = moe.router == RouterScore::kNoisyNetwork;
  const int64_t router_rows = network ? moe.router_hidden_size : moe.num_experts;
  slots->decision_matrix(SLUICE__PROTO__SLOT__ROUTER, kReplicated, router_rows, hidden);
  if (moe.router_bias) slots->vector(SLUICE__PROTO__SLOT__ROUTER_BIAS, kReplicated, router_rows);
  if (network) {
    slots->decision_matrix(SLUICE__PROTO__SLOT__ROUTER_OUT, kReplicated, moe.num_experts,
                           router_rows);
    if (moe.router_bias) {
      slots->vector(SLUICE__PROTO__SLOT__ROUTER_OUT_BIAS, kReplicated, moe.num_experts);
    }
    slots->vector(SLUICE__PROTO__SLOT__ROUTER_NOISE, kReplicated, moe.num_experts);
  }
  if (moe.correction_bias) {
    slots->vector(SLUICE__PROTO__SLOT__ROUTER_CORRECTION_BIAS, kReplicated, moe.num_experts);
  }
  DenseSpec expert;
  expert.intermediate_size = moe.expert_intermediate_size;
  expert.gated = moe.gated;
  expert.gate_up_bias = moe.gate_up_bias;
  expert.down_bias = moe.down_bias;
  feed_forward({SLUICE__PROTO__SLOT__EXPERT_GATE_UP, SLUICE__PROTO__SLOT__EXPERT_GATE_UP_BIAS,
                SLUICE__PROTO__SLOT__EXPERT_DOWN, SLUICE__PROTO__SLOT__EXPERT_DOWN_BIAS},
               expert, hidden, moe.num_experts, slots);
  if (!moe.shared) return;
  feed_forward({SLUICE__PROTO__SLOT__SHARED_GATE_UP, SLUICE__PROTO__SLOT__SHARED_GATE_UP_BIAS,
                SLUICE__PROTO__SLOT__SHARED_DOWN, SLUICE__PROTO__SLOT__SHARED_DOWN_BIAS},
               *moe.shared, hidden, 0, slots);
  if (moe.shared_gate) {
    slots->decision_matrix(SLUICE__PROTO__SLOT__SHARED_GATE, kReplicated, 1, hidden);
  }
}

}  // namespace sluice
