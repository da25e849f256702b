// Plain kernels: a thread an element or a small vector of them, striding over the grid.
#include "ops/cuda/launch.h"
#include "ops/elementwise/elementwise_cuda.h"

namespace sluice::cuda {
namespace {

constexpr int kThreads = 256;

// Blocks for `items` threads' work: a few waves, since each thread has little to do.
unsigned blocks_for(const CudaExec& exec, int64_t items) {
  return grid_for(items, kThreads, int64_t{16} * exec.num_sms);
}

__device__ inline int64_t first_item() { return int64_t{blockIdx.x} * blockDim.x + threadIdx.x; }
__device__ inline int64_t item_step() { return int64_t{gridDim.x} * blockDim.x; }

__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

template <typename T, int kCount>
struct alignas(sizeof(T) * kCount) Vector {
  T values[kCount];
};

// `groups` vectors of kVector columns a row.
template <typename In, typename Out, int kVector>
__global__ void convert_kernel(ConvertRowsParams p, int64_t groups) {
  for (int64_t i = first_item(); i < p.num_rows * groups; i += item_step()) {
    const int64_t row = i / groups, col = i % groups * kVector;
    const auto in = *reinterpret_cast<const Vector<In, kVector>*>(static_cast<const In*>(p.x) +
                                                                  row * p.x_stride + col);
    Vector<Out, kVector> out;
#pragma unroll
    for (int v = 0; v < kVector; ++v) store(out.values + v, load(in.values + v));
    *reinterpret_cast<Vector<Out, kVector>*>(static_cast<Out*>(p.y) + row * p.y_stride + col) = out;
  }
}

template <MapKind kKind>
__global__ void map_kernel(float limit, int64_t count, float* x) {
  for (int64_t i = first_item(); i < count; i += item_step()) {
    float value = x[i];
    if constexpr (kKind == MapKind::kClamp) {
      if (value > limit) value = limit;
      if (value < -limit) value = -limit;
    } else if constexpr (kKind == MapKind::kSoftCap) {
      value = limit * tanhf(value / limit);
    } else {
      value = sigmoid(value);
      if (value < limit) value = 0.0f;
    }
    x[i] = value;
  }
}

template <typename T>
__global__ void gate_kernel(int64_t count, const float* gate, T* y) {
  for (int64_t i = first_item(); i < count; i += item_step()) {
    store(y + i, load(y + i) / (1.0f + expf(-gate[i])));
  }
}

__global__ void gated_add_kernel(GatedAddParams p) {
  for (int64_t i = first_item(); i < p.num_rows * p.cols; i += item_step()) {
    p.y[i] += p.multiplier / (1.0f + expf(-p.gate[i / p.cols])) * p.x[i];
  }
}

__global__ void mark_kernel(MarkSlotsParams p) {
  for (int64_t t = first_item(); t < p.num_tokens; t += item_step()) {
    const int64_t slot = p.slots[t * p.slot_stride];
    if (slot >= 0) p.marks[slot] = sigmoid(p.logits[t]) >= p.threshold ? 1 : 0;
  }
}

// A warp a row.
__global__ void merge_kernel(MergeAttentionParams p) {
  const int lane = threadIdx.x % 32;
  for (int64_t row = first_item() / 32; row < p.num_rows; row += item_step() / 32) {
    const float lse = p.lse[row], part_lse = p.part_lse[row];
    const float top = lse < part_lse ? part_lse : lse;  // NaN in either makes all of it NaN
    if (isinf(top) && top < 0) continue;
    const float a = expf(lse - top), b = expf(part_lse - top), sum = a + b;
    const float* part = p.part + row * p.cols;
    float* out = p.out + row * p.cols;
    for (int64_t c = lane; c < p.cols; c += 32) {
      out[c] = out[c] * (a / sum) + part[c] * (b / sum);
    }
    __syncwarp();  // all lanes have read lse
    if (lane == 0) p.lse[row] = top + logf(sum);
  }
}

__global__ void gather_kernel(GatherValuesParams p) {
  const int64_t count = *p.count < p.max_count ? *p.count : p.max_count;
  for (int64_t i = first_item(); i < count; i += item_step()) p.y[i] = p.x[p.index[i]];
}

__global__ void lengths_kernel(int32_t count, const int32_t* offsets, int32_t* counts) {
  for (int64_t i = first_item(); i < count; i += item_step()) {
    counts[i] += offsets[i + 1] - offsets[i];
  }
}

__global__ void local_ids_kernel(int64_t count, const int32_t* x, int64_t first, int64_t size,
                                 int32_t* y) {
  for (int64_t i = first_item(); i < count; i += item_step()) {
    const int64_t row = x[i] - first;
    y[i] = row >= 0 && row < size ? static_cast<int32_t>(row) : -1;
  }
}

__global__ void shift_kernel(ShiftParams p) {
  for (int64_t i = first_item(); i < p.count; i += item_step()) {
    p.y[i] = min(max(p.x[i], p.low), p.high) - p.offset;
  }
}

__global__ void number_kernel(int64_t count, int32_t* y) {
  for (int64_t i = first_item(); i < count; i += item_step()) y[i] = static_cast<int32_t>(i);
}

// One warp: a scan over the sequences, 32 at a time.
__global__ void ragged_kernel(RaggedRowsParams p) {
  int32_t before = 0;  // blocks of the sequences before these 32
  for (int32_t base = 0; base < p.num_sequences; base += 32) {
    const int32_t s = base + static_cast<int32_t>(threadIdx.x);
    const bool valid = s < p.num_sequences;
    const int32_t rows = valid ? min(max(p.lengths[s] - p.first, 0), p.limit) : 0;
    const int32_t blocks =
        static_cast<int32_t>((int64_t{rows} + p.align - 1) / p.align);
    int32_t sum = blocks;
    for (int step = 1; step < 32; step *= 2) {
      const int32_t other = __shfl_up_sync(kAllLanes, sum, step);
      if (static_cast<int>(threadIdx.x) >= step) sum += other;
    }
    if (valid) {
      const int32_t block = before + sum - blocks;
      p.num_rows[s] = rows;
      p.row_start[s] = block * p.align;
      p.row_block[s] = block;
    }
    before += __shfl_sync(kAllLanes, sum, 31);
  }
}

template <typename T>
bool aligned(const void* pointer, int64_t stride) {
  constexpr int64_t kBytes = 4 * sizeof(T);
  return reinterpret_cast<uintptr_t>(pointer) % kBytes == 0 && stride % 4 == 0;
}

}  // namespace

void convert_rows(const CudaExec& exec, const ConvertRowsParams& p) {
  with_format(p.x_format, [&](auto* x) {
    with_format(p.y_format, [&](auto* y) {
      using In = std::remove_pointer_t<decltype(x)>;
      using Out = std::remove_pointer_t<decltype(y)>;
      const bool wide =
          p.cols % 4 == 0 && aligned<In>(p.x, p.x_stride) && aligned<Out>(p.y, p.y_stride);
      const int64_t groups = wide ? p.cols / 4 : p.cols;
      const auto kernel = wide ? convert_kernel<In, Out, 4> : convert_kernel<In, Out, 1>;
      kernel<<<blocks_for(exec, p.num_rows * groups), kThreads, 0, stream_of(exec)>>>(p, groups);
    });
  });
  SLUICE_CHECK_LAUNCH("convert_rows of ", p.num_rows, " x ", p.cols);
}

void map_values(const CudaExec& exec, MapKind kind, float limit, int64_t count, float* x) {
  const auto kernel = kind == MapKind::kClamp     ? map_kernel<MapKind::kClamp>
                      : kind == MapKind::kSoftCap ? map_kernel<MapKind::kSoftCap>
                                                  : map_kernel<MapKind::kGate>;
  kernel<<<blocks_for(exec, count), kThreads, 0, stream_of(exec)>>>(limit, count, x);
  SLUICE_CHECK_LAUNCH("map_values of ", count);
}

void gate_values(const CudaExec& exec, int64_t count, const float* gate, void* y, Format format) {
  with_format(format, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    gate_kernel<T><<<blocks_for(exec, count), kThreads, 0, stream_of(exec)>>>(
        count, gate, static_cast<T*>(y));
  });
  SLUICE_CHECK_LAUNCH("gate_values of ", count);
}

void gated_add(const CudaExec& exec, const GatedAddParams& p) {
  gated_add_kernel<<<blocks_for(exec, p.num_rows * p.cols), kThreads, 0, stream_of(exec)>>>(p);
  SLUICE_CHECK_LAUNCH("gated_add of ", p.num_rows, " x ", p.cols);
}

void mark_slots(const CudaExec& exec, const MarkSlotsParams& p) {
  mark_kernel<<<blocks_for(exec, p.num_tokens), kThreads, 0, stream_of(exec)>>>(p);
  SLUICE_CHECK_LAUNCH("mark_slots of ", p.num_tokens);
}

void merge_attention(const CudaExec& exec, const MergeAttentionParams& p) {
  merge_kernel<<<blocks_for(exec, p.num_rows * 32), kThreads, 0, stream_of(exec)>>>(p);
  SLUICE_CHECK_LAUNCH("merge_attention of ", p.num_rows, " x ", p.cols);
}

void gather_values(const CudaExec& exec, const GatherValuesParams& p) {
  gather_kernel<<<blocks_for(exec, p.max_count), kThreads, 0, stream_of(exec)>>>(p);
  SLUICE_CHECK_LAUNCH("gather_values of ", p.max_count);
}

void add_lengths(const CudaExec& exec, int32_t count, const int32_t* offsets, int32_t* counts) {
  lengths_kernel<<<blocks_for(exec, count), kThreads, 0, stream_of(exec)>>>(count, offsets, counts);
  SLUICE_CHECK_LAUNCH("add_lengths of ", count);
}

void local_ids(const CudaExec& exec, int64_t count, const int32_t* x, int64_t first, int64_t size,
               int32_t* y) {
  local_ids_kernel<<<blocks_for(exec, count), kThreads, 0, stream_of(exec)>>>(count, x, first, size,
                                                                              y);
  SLUICE_CHECK_LAUNCH("local_ids of ", count);
}

void shift_values(const CudaExec& exec, const ShiftParams& p) {
  shift_kernel<<<blocks_for(exec, p.count), kThreads, 0, stream_of(exec)>>>(p);
  SLUICE_CHECK_LAUNCH("shift_values of ", p.count);
}

void number_values(const CudaExec& exec, int64_t count, int32_t* y) {
  number_kernel<<<blocks_for(exec, count), kThreads, 0, stream_of(exec)>>>(count, y);
  SLUICE_CHECK_LAUNCH("number_values of ", count);
}

void ragged_rows(const CudaExec& exec, const RaggedRowsParams& p) {
  ragged_kernel<<<1, 32, 0, stream_of(exec)>>>(p);
  SLUICE_CHECK_LAUNCH("ragged_rows of ", p.num_sequences, " sequences");
}

}  // namespace sluice::cuda
