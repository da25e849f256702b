/// @file
/// Extents of a tensor, for checks and messages; kernels take plain sizes.
#ifndef SLUICE_BASE_SHAPE_H_
#define SLUICE_BASE_SHAPE_H_

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "base/checked.h"

namespace sluice {

/// Up to four extents, outermost first. A value type.
class Shape {
 public:
  static constexpr int kMaxRank = 4;

  Shape() = default;
  Shape(std::initializer_list<int64_t> extents) {
    for (const int64_t extent : extents) push_back(extent);
  }

  /// Appends an innermost extent. Throws INVALID_ARGUMENT for a negative one or a fifth one.
  void push_back(int64_t extent) {
    SLUICE_CHECK_ARG(rank_ < kMaxRank, "rank: more than ", kMaxRank, " dimensions");
    SLUICE_CHECK_ARG(extent >= 0, "extent: ", extent, " (expected: 0 or more)");
    extents_[rank_++] = extent;
  }

  int rank() const { return rank_; }
  int64_t operator[](int i) const { return extents_[i]; }

  /// Product of the extents; throws INVALID_ARGUMENT on overflow. 1 for rank 0.
  int64_t num_elements() const {
    int64_t product = 1;
    for (int i = 0; i < rank_; ++i) product = checked_mul(product, extents_[i]);
    return product;
  }

  bool operator==(const Shape& other) const = default;

  /// "[2, 3]".
  std::string to_string() const {
    std::string text = "[";
    for (int i = 0; i < rank_; ++i) text += concat(i == 0 ? "" : ", ", extents_[i]);
    return text + "]";
  }

 private:
  std::array<int64_t, kMaxRank> extents_{};
  int rank_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_BASE_SHAPE_H_
