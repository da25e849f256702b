#include "runtime/rank_trace.h"

#include <cstring>

#include "base/error.h"

namespace sluice {

void RankTraceObserver::keep(const std::string& name, const TensorRows& rows) {
  TensorRows whole = rows;
  // Only masks are in U8 and differ between ranks, unless all heads share one.
  const int64_t cols = trace_.cols(name);
  if (rows.format == Format::kU8 && rows.cols != cols) {
    SLUICE_CHECK_INTERNAL(rows.cols * comm_.size() == cols, "trace: ", name, " with ", rows.cols,
                          " columns on each of ", comm_.size(), " ranks (expected: ", cols,
                          " together)");
    gathered_.resize(static_cast<size_t>(rows.num_rows * cols));
    if (rows.num_rows > 0) comm_.all_gather(rows.data, rows.num_rows, rows.cols, gathered_.data());
    whole.data = gathered_.data();
    whole.cols = cols;
  }
  if (comm_.rank() == 0) trace_.keep(name, whole);
}

const TensorRows* RankTraceObserver::replay(const std::string& name) const {
  const TensorRows* whole = trace_.replay(name);
  if (whole == nullptr || whole->format != Format::kU8 || whole->cols == longest_) return whole;
  Part& part = replays_[name];
  if (part.rows.data == nullptr) {
    const int64_t cols = whole->cols / comm_.size();
    part.values.resize(static_cast<size_t>(whole->num_rows * cols));
    const auto* from = static_cast<const uint8_t*>(whole->data) + comm_.rank() * cols;
    for (int64_t row = 0; row < whole->num_rows; ++row) {
      std::memcpy(part.values.data() + row * cols, from + row * whole->cols,
                  static_cast<size_t>(cols));
    }
    part.rows = *whole;
    part.rows.data = part.values.data();
    part.rows.cols = cols;
  }
  return &part.rows;
}

}  // namespace sluice
