// CUDA against the CPU's functions.
#include "base/error.h"
#include "ops/elementwise/elementwise.h"
#include "ops/testing/cuda_test.h"

namespace sluice {
namespace {

using namespace sluice::testing;

Exec cpu() { return exec_of(detect_isa(), 1); }

const float* floats(const Values& values) { return static_cast<const float*>(values.data()); }
float* floats(Values& values) { return static_cast<float*>(values.data()); }
float* floats(const DeviceBytes& bytes) { return static_cast<float*>(bytes.data()); }

std::vector<int32_t> random_ints(int64_t count, int32_t low, int32_t high, uint64_t seed) {
  Random random(seed);
  std::vector<int32_t> out;
  for (int64_t i = 0; i < count; ++i) {
    out.push_back(low + static_cast<int32_t>(random.below(int64_t{high} - low)));
  }
  return out;
}

struct Rows {
  int64_t rows, cols, x_stride, y_stride, begin;
};

TEST(CudaElementwise, ConvertsRows) {
  for (const Rows shape : {Rows{1, 1, 1, 1, 0}, {37, 64, 192, 576, 128}, {300, 2048, 2048, 2048, 0},
                           {9, 20, 23, 21, 1}, {5, 12, 16, 18, 2}}) {
    for (const Format in : {Format::kF32, Format::kBf16}) {
      for (const Format out : {Format::kF32, Format::kBf16}) {
        SCOPED_TRACE(concat(shape.rows, " x ", shape.cols, " ", format_name(in), " to ",
                            format_name(out)));
        const int64_t x_count = shape.rows * shape.x_stride + shape.begin;
        const int64_t y_count = shape.rows * shape.y_stride + shape.begin;
        Values x = Values::random(in, x_count, 1), y(out, y_count);
        x.set(shape.begin, NAN);
        const DeviceBytes device_x = on_device(x, x_count), device_y = on_device(y, y_count);
        ConvertRowsParams params{.num_rows = shape.rows,
                                 .cols = shape.cols,
                                 .x = x.at(shape.begin),
                                 .x_format = in,
                                 .x_stride = shape.x_stride,
                                 .y = y.at(shape.begin),
                                 .y_format = out,
                                 .y_stride = shape.y_stride};
        ConvertRowsParams on_gpu = params;
        on_gpu.x = static_cast<char*>(device_x.data()) + format_bytes(in, shape.begin);
        on_gpu.y = static_cast<char*>(device_y.data()) + format_bytes(out, shape.begin);
        convert_rows(cpu(), params);
        convert_rows(cuda_exec(), on_gpu);
        expect_close(on_host(device_y, out, y_count), y, y_count, 0);
      }
    }
  }
}

TEST(CudaElementwise, MapsAndGatesValues) {
  const int64_t count = 70001;
  for (const MapKind kind : {MapKind::kClamp, MapKind::kSoftCap, MapKind::kGate}) {
    Values x = Values::random(Format::kF32, count, 2, 4.0f);
    x.set(7, NAN);
    const DeviceBytes device = on_device(x, count);
    const float limit = kind == MapKind::kGate ? 0.4f : 1.5f;
    map_values(cpu(), kind, limit, count, floats(x));
    map_values(cuda_exec(), kind, limit, count, floats(device));
    const Values actual = on_host(device, Format::kF32, count);
    for (int64_t i = 0; i < count; ++i) {
      // At the threshold the two exponentials may fall on different sides.
      const bool edge = kind == MapKind::kGate && actual.get(i) + x.get(i) > 0.39f &&
                        actual.get(i) + x.get(i) < 0.41f && actual.get(i) * x.get(i) == 0;
      ASSERT_TRUE(edge || close(actual.get(i), x.get(i), 1e-6)) << i;
    }
  }
  const Values gate = Values::random(Format::kF32, count, 3, 5.0f);
  const DeviceBytes device_gate = on_device(gate, count);
  for (const Format format : {Format::kF32, Format::kBf16}) {
    Values y = Values::random(format, count, 4);
    const DeviceBytes device = on_device(y, count);
    gate_values(cpu(), count, floats(gate), y.data(), format);
    gate_values(cuda_exec(), count, floats(device_gate), device.data(), format);
    expect_close(on_host(device, format, count), y, count, 2 * epsilon(format));
  }
}

TEST(CudaElementwise, AddsGatedRows) {
  const int64_t rows = 19, cols = 515;
  const Values gate = Values::random(Format::kF32, rows, 5, 3.0f);
  const Values x = Values::random(Format::kF32, rows * cols, 6);
  Values y = Values::random(Format::kF32, rows * cols, 7);
  const DeviceBytes device_gate = on_device(gate, rows), device_x = on_device(x, rows * cols);
  const DeviceBytes device_y = on_device(y, rows * cols);
  GatedAddParams params{.num_rows = rows, .cols = cols, .gate = floats(gate), .multiplier = 0.7f,
                        .x = floats(x), .y = floats(y)};
  gated_add(cpu(), params);
  params.gate = floats(device_gate);
  params.x = floats(device_x);
  params.y = floats(device_y);
  gated_add(cuda_exec(), params);
  expect_close(on_host(device_y, Format::kF32, rows * cols), y, rows * cols, 1e-6);
}

TEST(CudaElementwise, MergesAttention) {
  for (const int64_t cols : {1, 20, 128, 515}) {
    const int64_t rows = 77;
    const Values part = Values::random(Format::kF32, rows * cols, 8);
    Values part_lse = Values::random(Format::kF32, rows, 9, 20.0f);
    Values out = Values::random(Format::kF32, rows * cols, 10);
    Values lse = Values::random(Format::kF32, rows, 11, 20.0f);
    for (int64_t r = 0; r < 20; ++r) {
      if (r % 2 == 0) lse.set(r, -INFINITY);
      if (r % 3 == 0) part_lse.set(r, -INFINITY);
    }
    lse.set(40, NAN);
    part_lse.set(41, NAN);
    const DeviceBytes device_part = on_device(part, rows * cols), device_out = on_device(out, rows * cols);
    const DeviceBytes device_part_lse = on_device(part_lse, rows), device_lse = on_device(lse, rows);
    merge_attention(cpu(), {rows, cols, floats(part), floats(part_lse), floats(out), floats(lse)});
    merge_attention(cuda_exec(), {rows, cols, floats(device_part), floats(device_part_lse),
                                  floats(device_out), floats(device_lse)});
    expect_close(on_host(device_out, Format::kF32, rows * cols), out, rows * cols, 2e-6);
    expect_close(on_host(device_lse, Format::kF32, rows), lse, rows, 1e-6);
  }
}

TEST(CudaElementwise, MarksSlotsAndGathersValues) {
  const std::vector<float> logits{2, -2, 3, 0, NAN, 1};
  const std::vector<int32_t> slots{4, 7, 0, 7, -1, 7, 2, 7, 1, 7, 5, 7};
  std::vector<uint8_t> marks(6, 9);
  const DeviceArray<float> device_logits(logits);
  const DeviceArray<int32_t> device_slots(slots);
  const DeviceArray<uint8_t> device_marks(marks);
  mark_slots(cpu(), {6, logits.data(), 0.5f, slots.data(), 2, marks.data()});
  mark_slots(cuda_exec(),
             {6, device_logits.get(), 0.5f, device_slots.get(), 2, device_marks.get()});
  EXPECT_EQ(device_marks.host(), marks);

  std::vector<int32_t> index = random_ints(3000, 0, 6, 12);
  for (size_t i = 2000; i < 3000; ++i) index[i] = INT32_MAX;  // beyond the count: not read
  std::vector<float> y(3000, -1);
  const int32_t count = 2000;
  const DeviceArray<int32_t> device_index(index), device_count(std::vector<int32_t>{count});
  const DeviceArray<float> device_y(y);
  gather_values(cpu(), {3000, &count, index.data(), logits.data(), y.data()});
  gather_values(cuda_exec(), {3000, device_count.get(), device_index.get(), device_logits.get(),
                              device_y.get()});
  const std::vector<float> actual = device_y.host();
  for (size_t i = 0; i < y.size(); ++i) {
    ASSERT_TRUE(close(actual[i], y[i], 0)) << i;
  }
}

TEST(CudaElementwise, Integers) {
  const int64_t count = 5000;
  const std::vector<int32_t> x = random_ints(count, -50, 1000, 13);
  const DeviceArray<int32_t> device_x(x), device_y(count);
  std::vector<int32_t> y(count);
  local_ids(cpu(), count, x.data(), 100, 300, y.data());
  local_ids(cuda_exec(), count, device_x.get(), 100, 300, device_y.get());
  EXPECT_EQ(device_y.host(), y);
  ShiftParams shift{.count = count, .x = x.data(), .low = 10, .high = 700, .offset = 30,
                    .y = y.data()};
  shift_values(cpu(), shift);
  shift.x = device_x.get();
  shift.y = device_y.get();
  shift_values(cuda_exec(), shift);
  EXPECT_EQ(device_y.host(), y);
  number_values(cpu(), count, y.data());
  number_values(cuda_exec(), count, device_y.get());
  EXPECT_EQ(device_y.host(), y);
  add_lengths(cpu(), 4999, x.data(), y.data());
  add_lengths(cuda_exec(), 4999, device_x.get(), device_y.get());
  EXPECT_EQ(device_y.host(), y);

  copy_bytes(cuda_exec(), device_y.get(), device_x.get(), 4 * 100);
  zero_bytes(cuda_exec(), device_y.get() + 50, 4 * 10);
  std::copy_n(x.begin(), 100, y.begin());
  std::fill_n(y.begin() + 50, 10, 0);
  std::vector<int32_t> copied = device_y.host();
  copied.resize(100);
  y.resize(100);
  EXPECT_EQ(copied, y);
}

TEST(CudaElementwise, LaysSequencesOutInRows) {
  for (const int32_t sequences : {1, 31, 32, 33, 300}) {
    const std::vector<int32_t> lengths = random_ints(sequences, 0, 900, 15);
    std::vector<int32_t> rows(sequences), start(sequences), block(sequences);
    const DeviceArray<int32_t> device_lengths(lengths), device_rows(sequences),
        device_start(sequences), device_block(sequences);
    RaggedRowsParams params{.num_sequences = sequences,
                            .lengths = lengths.data(),
                            .first = 100,
                            .limit = 500,
                            .align = 64,
                            .num_rows = rows.data(),
                            .row_start = start.data(),
                            .row_block = block.data()};
    ragged_rows(cpu(), params);
    params.lengths = device_lengths.get();
    params.num_rows = device_rows.get();
    params.row_start = device_start.get();
    params.row_block = device_block.get();
    ragged_rows(cuda_exec(), params);
    EXPECT_EQ(device_rows.host(), rows);
    EXPECT_EQ(device_start.host(), start);
    EXPECT_EQ(device_block.host(), block);
  }
}

}  // namespace
}  // namespace sluice
