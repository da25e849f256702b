// CUDA against the documented layout, and against the CPU's op where results are rows.
#include "base/checked.h"
#include "base/error.h"
#include "ops/kv_write/kv_write.h"
#include "ops/testing/cuda_test.h"

namespace sluice {
namespace {

using namespace sluice::testing;

constexpr Format kFormats[] = {Format::kF32, Format::kBf16};

// A cache on the device; the strides leave gaps that must stay as they are.
struct DeviceCache {
  KvCacheView view;
  DeviceBytes k, v;

  DeviceCache(Format format, int64_t blocks, int32_t block_size, int32_t heads, int32_t k_dim,
              int32_t v_dim)
      : view(shape(format, blocks, block_size, heads, k_dim, v_dim)),
        k(std::max<int64_t>(blocks * view.k_block_stride, 64)),
        v(blocks * view.v_block_stride) {
    view.k = k_dim == 0 ? nullptr : k.data();
    view.v = v.data();
  }

  static KvCacheView shape(Format format, int64_t blocks, int32_t block_size, int32_t heads,
                           int32_t k_dim, int32_t v_dim) {
    KvCacheView view;
    view.format = format;
    view.layout = KvLayout::kRows;
    view.num_blocks = blocks;
    view.block_size = block_size;
    view.num_kv_heads = heads;
    view.k_dim = k_dim;
    view.v_dim = v_dim;
    view.k_block_stride =
        k_dim == 0 ? 0 : round_up(kv_block_bytes(format, block_size, heads, k_dim), 64) + 64;
    view.v_block_stride = round_up(kv_block_bytes(format, block_size, heads, v_dim), 64);
    return view;
  }
  int64_t elements(int64_t stride) const {
    return view.num_blocks * stride / format_bytes(view.format, 1);
  }
  Values keys() const { return on_host(k, view.format, elements(view.k_block_stride)); }
  Values values() const { return on_host(v, view.format, elements(view.v_block_stride)); }

  // Index of a column where kv_cache.h says that it lies.
  int64_t place(int64_t block_stride, int32_t dim, int32_t slot, int64_t head, int64_t col) const {
    const int64_t block = slot / view.block_size, offset = slot % view.block_size;
    return block * block_stride / format_bytes(view.format, 1) +
           (head * view.block_size + offset) * round_up(dim, 16) + col;
  }
};

struct Shape {
  int32_t heads, k_dim, v_dim, block_size, tail, between;  // columns between heads
};

void write_and_compare(const Shape& s, Format in, Format format) {
  SCOPED_TRACE(concat(s.heads, " heads ", s.k_dim, " + ", s.v_dim, " tail ", s.tail, " between ",
                      s.between, " blocks of ", s.block_size, " ", format_name(in), " to ",
                      format_name(format)));
  const int64_t tokens = 5, own = s.k_dim - s.tail;
  const int64_t k_head = own + s.between, v_head = s.v_dim + s.between;
  const int64_t k_stride = s.heads * k_head, v_stride = s.heads * v_head + 8;
  const int64_t tail_stride = s.tail + 8;
  const Values k = Values::random(in, tokens * k_stride + 1, 1);
  const Values v = Values::random(in, tokens * v_stride, 2);
  const Values tail = Values::random(in, tokens * tail_stride, 3);
  // Two kv groups' slots side by side. The third token is not kept, nor is one beyond the cache.
  const std::vector<int32_t> slots{s.block_size * 2 + 3, 7, 1, 7, -1, 7, s.block_size - 1, 7,
                                   3 * s.block_size,     7};
  DeviceCache cache(format, 3, s.block_size, s.heads, s.k_dim, s.v_dim);
  Values k_expected(format, cache.elements(cache.view.k_block_stride));
  Values v_expected(format, cache.elements(cache.view.v_block_stride));
  for (int64_t t = 0; t < tokens; ++t) {
    const int32_t slot = slots[static_cast<size_t>(2 * t)];
    if (slot < 0 || slot >= 3 * s.block_size) continue;
    for (int64_t h = 0; h < s.heads; ++h) {
      for (int64_t d = 0; d < round_up(s.k_dim, 16); ++d) {
        const float value = d < own       ? k.get(t * k_stride + h * k_head + d)
                            : d < s.k_dim ? tail.get(t * tail_stride + d - own)
                                          : 0.0f;
        k_expected.set(cache.place(cache.view.k_block_stride, s.k_dim, slot, h, d), value);
      }
      for (int64_t d = 0; d < round_up(s.v_dim, 16); ++d) {
        v_expected.set(cache.place(cache.view.v_block_stride, s.v_dim, slot, h, d),
                       d < s.v_dim ? v.get(t * v_stride + h * v_head + d) : 0.0f);
      }
    }
  }
  const DeviceBytes device_k = on_device(k, tokens * k_stride);
  const DeviceBytes device_v = on_device(v, tokens * v_stride);
  const DeviceBytes device_tail = on_device(tail, tokens * tail_stride);
  const DeviceArray<int32_t> device_slots(slots);
  KvWriteParams params;
  params.num_tokens = tokens;
  params.k = device_k.data();
  params.v = device_v.data();
  params.format = in;
  params.k_stride = k_stride;
  params.v_stride = v_stride;
  params.k_head_stride = s.between == 0 ? 0 : k_head;
  params.v_head_stride = s.between == 0 ? 0 : v_head;
  params.k_tail = device_tail.data();
  params.k_tail_dim = s.tail;
  params.k_tail_stride = tail_stride;
  params.slots = device_slots.get();
  params.slot_stride = 2;
  params.cache = cache.view;
  kv_write(cuda_exec(), params);
  if (s.k_dim > 0) {
    EXPECT_TRUE(cache.keys() == k_expected);
  }
  EXPECT_TRUE(cache.values() == v_expected);
  params.cache.layout = KvLayout::kInterleaved;
  EXPECT_THROW(kv_write(cuda_exec(), params), Error);
}

TEST(CudaKv, WritesTheDocumentedLayoutAndNothingElse) {
  for (const Shape shape : {Shape{2, 17, 40, 4, 0, 0}, {2, 128, 128, 16, 0, 0},
                            {1, 0, 576, 64, 0, 0}, {3, 192, 128, 16, 64, 128},
                            {3, 20, 9, 8, 7, 9}, {8, 64, 64, 32, 0, 8}, {1, 0, 1000, 8, 0, 0}}) {
    for (const Format in : kFormats) {
      for (const Format format : kFormats) write_and_compare(shape, in, format);
    }
  }
}

// A sequence with rows that no position fills behind it, an empty one, and a block that is not
// there.
TEST(CudaKv, ReadsTheValuesBack) {
  for (const int32_t dim : {300, 512}) {
    for (const Format format : kFormats) {
      for (const Format out : kFormats) {
        const int64_t cols = 2 * dim, stride = cols + 8;
        DeviceCache cache(format, 4, 8, 2, 0, dim);
        const Values v = Values::random(Format::kF32, 19 * cols, 3);
        const std::vector<int32_t> tables{-1, 9, 1, 9, 3, 0};  // stride 2: rows 1 and 2 are used
        std::vector<int32_t> slots;
        for (int32_t pos = 0; pos < 13; ++pos) slots.push_back(tables[4 + pos / 8] * 8 + pos % 8);
        for (int32_t pos = 0; pos < 6; ++pos) slots.push_back(8 + pos);
        const DeviceBytes device_v = on_device(v, 19 * cols);
        const DeviceArray<int32_t> device_slots(slots);
        KvWriteParams write;
        write.num_tokens = 19;
        write.v = device_v.data();
        write.format = Format::kF32;
        write.v_stride = cols;
        write.slots = device_slots.get();
        write.cache = cache.view;
        kv_write(cuda_exec(), write);

        Values expected(out, 13 * stride);
        const auto expect_row = [&](int64_t row, int64_t token) {
          for (int64_t d = 0; d < cols; ++d) {
            const float value = token < 0 ? 0.0f : v.get(token * cols + d);
            const bool narrow = format == Format::kBf16;
            expected.set(row * stride + d, narrow ? to_float(to_bf16(value)) : value);
          }
        };
        for (int64_t i = 0; i < 8; ++i) expect_row(i, 5 + i);
        expect_row(8, -1);
        expect_row(9, 13 + 5);
        for (int64_t i = 10; i < 13; ++i) expect_row(i, -1);
        const DeviceArray<int32_t> counts(std::vector<int32_t>{8, 0, 1});
        const DeviceArray<int32_t> starts(std::vector<int32_t>{0, 9, 9});
        const DeviceArray<int32_t> table_rows(std::vector<int32_t>{2, 0, 1}), table(tables);
        const DeviceBytes rows(format_bytes(out, 13 * stride));
        KvReadParams params;
        params.cache = cache.view;
        params.num_sequences = 3;
        params.num_positions = counts.get();
        params.row_start = starts.get();
        params.block_tables = table.get();
        params.block_table_stride = 2;
        params.table_rows = table_rows.get();
        params.first_position = 5;
        params.num_rows = 13;
        params.rows = rows.data();
        params.format = out;
        params.row_stride = stride;
        kv_read_values(cuda_exec(), params);
        EXPECT_TRUE(on_host(rows, out, 13 * stride) == expected);
        params.first_position = 8;  // the last sequence has no block there
        kv_read_values(cuda_exec(), params);
        const Values bad = on_host(rows, out, 13 * stride);
        for (int64_t d = 0; d < cols; ++d) ASSERT_TRUE(std::isnan(bad.get(9 * stride + d)));
        ASSERT_EQ(bad.get(10 * stride), 0.0f);
      }
    }
  }
}

TEST(CudaKv, MovesBlocks) {
  DeviceCache cache(Format::kBf16, 5, 16, 3, 40, 64);
  const int64_t k_count = cache.elements(cache.view.k_block_stride);
  const int64_t v_count = cache.elements(cache.view.v_block_stride);
  Values k = Values::random(Format::kBf16, k_count, 1), v = Values::random(Format::kBf16, v_count, 2);
  cache.k.upload(k.data());
  cache.v.upload(v.data());
  kv_copy_block(cuda_exec(), cache.view, 1, 4);
  kv_copy_block(cuda_exec(), cache.view, 2, 2);
  kv_zero_block(cuda_exec(), cache.view, 3);
  const auto move = [](Values* all, int64_t block, int64_t used) {
    for (int64_t i = 0; i < used; ++i) {
      all->set(4 * block + i, all->get(block + i));
      all->set(3 * block + i, 0);
    }
  };
  move(&k, cache.view.k_block_stride / 2, 16 * 3 * 48);
  move(&v, cache.view.v_block_stride / 2, 16 * 3 * 64);
  EXPECT_TRUE(cache.keys() == k);
  EXPECT_TRUE(cache.values() == v);
  EXPECT_THROW(kv_copy_block(cuda_exec(), cache.view, 0, 5), Error);
  EXPECT_THROW(kv_zero_block(cuda_exec(), cache.view, -1), Error);
  EXPECT_THROW(kv_zero_block({}, cache.view, 1), Error);
}

}  // namespace
}  // namespace sluice
