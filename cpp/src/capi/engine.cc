// Engine and step calls of sluice.h.
#include <memory>

#include "capi/arguments.h"
#include "capi/guard.h"

namespace sluice {
namespace {

Placement make_placement(const int32_t* devices, int32_t num_devices, int32_t first_rank,
                         int32_t world_size, bool has_comm_id, int32_t layer_begin,
                         int32_t layer_end) {
  SLUICE_CHECK_ARG(num_devices > 0, "num_devices: ", num_devices, " (expected: 1 or more)");
  SLUICE_CHECK_ARG(world_size >= num_devices, "world_size: ", world_size,
                   " (expected: at least num_devices, ", num_devices, ")");
  checked_pointer(devices, "devices");
  Placement placement;
  placement.devices = {devices, static_cast<size_t>(num_devices)};
  placement.first_rank = first_rank;
  placement.world_size = world_size;
  placement.has_comm_id = has_comm_id;
  placement.layer_begin = layer_begin;
  placement.layer_end = layer_end;
  return placement;
}

}  // namespace
}  // namespace sluice

using sluice::checked_bytes;
using sluice::checked_engine;
using sluice::checked_pointer;
using sluice::guard;

sluice_status sluice_comm_id(uint8_t* comm_id, sluice_error* error) noexcept {
  return guard(error, __func__, [&]() -> sluice_status {
    checked_pointer(comm_id, "comm_id");
    SLUICE_FAIL(SLUICE_STATUS_UNSUPPORTED,
                "comm_id: ranks in several processes not built (built: one rank)");
  });
}

sluice_status sluice_engine_create(const uint8_t* spec_proto, int64_t spec_bytes,
                                   const uint8_t* options_proto, int64_t options_bytes,
                                   const int32_t* devices, int32_t num_devices, int32_t first_rank,
                                   int32_t world_size, const uint8_t* comm_id, int32_t layer_begin,
                                   int32_t layer_end, sluice_engine** engine,
                                   sluice_error* error) noexcept {
  return guard(error, __func__, [&] {
    checked_pointer(engine, "engine") = nullptr;
    const auto placement = sluice::make_placement(devices, num_devices, first_rank, world_size,
                                                  comm_id != nullptr, layer_begin, layer_end);
    auto plan = sluice::make_plan(checked_bytes(spec_proto, spec_bytes, "spec_proto"),
                                  checked_bytes(options_proto, options_bytes, "options_proto"),
                                  placement, false);
    *engine = new sluice_engine{sluice::Engine(std::move(plan))};
    return SLUICE_STATUS_OK;
  });
}

sluice_status sluice_engine_plan(const uint8_t* spec_proto, int64_t spec_bytes,
                                 const uint8_t* options_proto, int64_t options_bytes,
                                 const int32_t* devices, int32_t num_devices, int32_t first_rank,
                                 int32_t world_size, int32_t layer_begin, int32_t layer_end,
                                 uint8_t* buffer, int64_t capacity, int64_t* size,
                                 sluice_error* error) noexcept {
  return guard(error, __func__, [&] {
    checked_pointer(size, "size");
    const auto placement = sluice::make_placement(devices, num_devices, first_rank, world_size,
                                                  false, layer_begin, layer_end);
    const auto plan = sluice::make_plan(
        checked_bytes(spec_proto, spec_bytes, "spec_proto"),
        checked_bytes(options_proto, options_bytes, "options_proto"), placement, true);
    return sluice::write_output(sluice::make_engine_info(plan, sluice::kernel_uses(plan)), buffer, capacity, size);
  });
}

void sluice_engine_destroy(sluice_engine* engine) noexcept { delete engine; }

sluice_status sluice_engine_abort(sluice_engine* engine, sluice_error* error) noexcept {
  return guard(error, __func__, [&] {
    checked_engine(engine).abort();
    return SLUICE_STATUS_OK;
  });
}

sluice_status sluice_engine_info(sluice_engine* engine, uint8_t* buffer, int64_t capacity,
                                 int64_t* size, sluice_error* error) noexcept {
  return guard(error, __func__, [&] {
    return sluice::write_output(checked_engine(engine).info(), buffer, capacity, size);
  });
}

sluice_status sluice_engine_stats(sluice_engine* engine, int64_t* values, int32_t count,
                                  sluice_error* error) noexcept {
  return guard(error, __func__, [&] {
    SLUICE_CHECK_ARG(count >= 0, "count: ", count, " (expected: 0 or more)");
    const auto stats = checked_engine(engine).stats();
    if (count > 0) checked_pointer(values, "values");
    for (int32_t i = 0; i < count; ++i) values[i] = i < SLUICE_STAT_COUNT ? stats[i] : 0;
    return SLUICE_STATUS_OK;
  });
}

sluice_status sluice_engine_step_layout(sluice_engine* engine, sluice_step_layout* layout,
                                        sluice_error* error) noexcept {
  return guard(error, __func__, [&] {
    checked_pointer(layout, "layout") = checked_engine(engine).layout();
    return SLUICE_STATUS_OK;
  });
}

sluice_status sluice_engine_step_buffers(sluice_engine* engine, int32_t slot, void** input,
                                         void** output, sluice_error* error) noexcept {
  return guard(error, __func__, [&] {
    checked_pointer(input, "input");
    checked_pointer(output, "output");
    const auto areas = checked_engine(engine).step_buffers(slot);
    *input = areas.input;
    *output = areas.output;
    return SLUICE_STATUS_OK;
  });
}

sluice_status sluice_engine_submit(sluice_engine* engine, int32_t slot,
                                   sluice_error* error) noexcept {
  return guard(error, __func__, [&] {
    checked_engine(engine).submit(slot);
    return SLUICE_STATUS_OK;
  });
}

sluice_status sluice_engine_wait(sluice_engine* engine, int32_t slot, int64_t timeout_us,
                                 sluice_error* error) noexcept {
  return guard(error, __func__, [&] {
    return checked_engine(engine).wait(slot, timeout_us) ? SLUICE_STATUS_OK : SLUICE_STATUS_TIMEOUT;
  });
}

sluice_status sluice_engine_trace(sluice_engine* engine, int32_t slot, const uint8_t* request_proto,
                                  int64_t request_bytes, uint8_t* buffer, int64_t capacity,
                                  int64_t* size, sluice_error* error) noexcept {
  return guard(error, __func__, [&] {
    checked_pointer(size, "size");
    *size = checked_engine(engine).trace(
        slot, checked_bytes(request_proto, request_bytes, "request_proto"), buffer, capacity);
    return buffer == nullptr || *size > capacity ? SLUICE_STATUS_BUFFER_TOO_SMALL
                                                 : SLUICE_STATUS_OK;
  });
}
