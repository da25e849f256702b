#include "ops/sampling/token_counts.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace sluice {
namespace {

/// Half full at most, but for one token, so that a search ends soon.
int64_t table_capacity(int64_t tokens) {
  int64_t capacity = 16;
  while (capacity < 2 * (tokens - 1)) capacity *= 2;
  return capacity;
}

uint32_t scatter(int32_t token) { return static_cast<uint32_t>(token) * 2654435761u; }

int32_t add_floor_zero(int32_t count, int32_t delta) {
  const int64_t sum = int64_t{count} + delta;
  return static_cast<int32_t>(std::clamp<int64_t>(sum, 0, INT32_MAX));
}

}  // namespace

int64_t TokenCounts::max_tokens(int64_t vocab_size, int64_t max_context_len) {
  return std::min(vocab_size, max_context_len + 1);
}

int64_t TokenCounts::capacity_for(int64_t vocab_size, int64_t max_context_len) {
  return table_capacity(max_tokens(vocab_size, max_context_len));
}

int64_t TokenCounts::bytes(int32_t max_sequences, int32_t vocab_size, int64_t max_context_len) {
  const int64_t places = capacity_for(vocab_size, max_context_len);
  return max_sequences * (places * static_cast<int64_t>(sizeof(TokenCount)) +
                          static_cast<int64_t>(sizeof(int32_t)));
}

TokenCounts::TokenCounts(int32_t max_sequences, int32_t vocab_size, int64_t max_context_len,
                         AllocationCounter* counter)
    : buffer_(bytes(max_sequences, vocab_size, max_context_len), "penalty counts", counter),
      capacity_(capacity_for(vocab_size, max_context_len)),
      max_tokens_(max_tokens(vocab_size, max_context_len)),
      max_sequences_(max_sequences),
      used_(reinterpret_cast<int32_t*>(
          buffer_.data() + max_sequences * capacity_ * static_cast<int64_t>(sizeof(TokenCount)))) {
  for (int32_t slot = 0; slot < max_sequences; ++slot) reset(slot);
}

TokenCount* TokenCounts::table(int32_t seq_slot) const {
  return reinterpret_cast<TokenCount*>(buffer_.data()) + seq_slot * capacity_;
}

const TokenCount* TokenCounts::places(int32_t seq_slot) const { return table(seq_slot); }

/// The token's place, or the empty one where it would go.
TokenCount* TokenCounts::locate(TokenCount* table, int32_t token) const {
  const uint32_t mask = static_cast<uint32_t>(capacity_ - 1);
  uint32_t place = scatter(token) & mask;
  while (table[place].token != token && table[place].token != -1) place = (place + 1) & mask;
  return table + place;
}

void TokenCounts::add(int32_t seq_slot, int32_t token, int32_t prompt_delta, int32_t output_delta) {
  TokenCount* place = locate(table(seq_slot), token);
  if (place->token == -1) {
    if (prompt_delta <= 0 && output_delta <= 0) return;
    SLUICE_CHECK_ARG(used_[seq_slot] < max_tokens_, "counts of seq_slot ", seq_slot, ": ",
                     used_[seq_slot] + 1, " distinct tokens (expected: at most ", max_tokens_,
                     ", the context length and the token after it)");
    *place = {token, 0, 0};
    ++used_[seq_slot];
  }
  place->prompt = add_floor_zero(place->prompt, prompt_delta);
  place->output = add_floor_zero(place->output, output_delta);
}

void TokenCounts::reset(int32_t seq_slot) {
  std::fill_n(table(seq_slot), capacity_, TokenCount{-1, 0, 0});
  used_[seq_slot] = 0;
}

void TokenCounts::copy(int32_t source, int32_t target) {
  std::memcpy(table(target), table(source), capacity_ * sizeof(TokenCount));
  used_[target] = used_[source];
}

TokenCount TokenCounts::find(int32_t seq_slot, int32_t token) const {
  const TokenCount* place = locate(table(seq_slot), token);
  return place->token == -1 ? TokenCount{token, 0, 0} : *place;
}

}  // namespace sluice
