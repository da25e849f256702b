/// @file
/// Random numbers by counter, the same on every device.
#ifndef SLUICE_OPS_SAMPLING_PHILOX_H_
#define SLUICE_OPS_SAMPLING_PHILOX_H_

#include <cstdint>

namespace sluice {

/// The four numbers of Philox4x32-10; key and counter words are {low, high} halves. constexpr, so
/// that kernels may call it.
/// Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011.
struct PhiloxBlock {
  uint32_t x[4];
};
constexpr PhiloxBlock philox4x32_10(uint64_t key, uint64_t counter_low, uint64_t counter_high) {
  uint32_t k0 = static_cast<uint32_t>(key);
  uint32_t k1 = static_cast<uint32_t>(key >> 32);
  PhiloxBlock c = {{static_cast<uint32_t>(counter_low), static_cast<uint32_t>(counter_low >> 32),
                    static_cast<uint32_t>(counter_high),
                    static_cast<uint32_t>(counter_high >> 32)}};
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * c.x[0];
    const uint64_t b = uint64_t{0xCD9E8D57} * c.x[2];
    c = {{static_cast<uint32_t>(b >> 32) ^ c.x[1] ^ k0, static_cast<uint32_t>(b),
          static_cast<uint32_t>(a >> 32) ^ c.x[3] ^ k1, static_cast<uint32_t>(a)}};
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return c;
}

/// Uniform in [0, 1) for (seed, draw_position, draw): the upper 24 bits of the first word of
/// philox4x32_10(seed, draw_position, draw).
constexpr double philox_uniform(uint64_t seed, int64_t draw_position, uint64_t draw) {
  const PhiloxBlock block = philox4x32_10(seed, static_cast<uint64_t>(draw_position), draw);
  return (block.x[0] >> 8) * 0x1p-24;
}

}  // namespace sluice
#endif  // SLUICE_OPS_SAMPLING_PHILOX_H_
