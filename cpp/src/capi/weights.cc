// Weight calls of sluice.h.
#include "capi/arguments.h"
#include "capi/guard.h"

using sluice::checked_bytes;
using sluice::checked_engine;
using sluice::guard;

sluice_status sluice_weights_slots(sluice_engine* engine, uint8_t* buffer, int64_t capacity,
                                   int64_t* size, sluice_error* error) noexcept {
  return guard(error, __func__, [&] {
    return sluice::write_output(checked_engine(engine).weight_slots(), buffer, capacity, size);
  });
}

sluice_status sluice_weights_begin(sluice_engine* engine, int32_t mode,
                                   sluice_error* error) noexcept {
  return guard(error, __func__, [&] {
    checked_engine(engine).begin_weights(mode);
    return SLUICE_STATUS_OK;
  });
}

sluice_status sluice_weights_enqueue(sluice_engine* engine, const uint8_t* list_proto,
                                     int64_t list_bytes, sluice_error* error) noexcept {
  return guard(error, __func__, [&] {
    checked_engine(engine).enqueue_weights(checked_bytes(list_proto, list_bytes, "list_proto"));
    return SLUICE_STATUS_OK;
  });
}

sluice_status sluice_weights_poll(sluice_engine* engine, int64_t timeout_us,
                                  sluice_weights_progress* progress, sluice_error* error) noexcept {
  return guard(error, __func__, [&] {
    return checked_engine(engine).poll_weights(timeout_us, progress) ? SLUICE_STATUS_OK
                                                                     : SLUICE_STATUS_TIMEOUT;
  });
}

sluice_status sluice_weights_finish(sluice_engine* engine, sluice_error* error) noexcept {
  return guard(error, __func__, [&] {
    checked_engine(engine).finish_weights();
    return SLUICE_STATUS_OK;
  });
}

sluice_status sluice_weights_abort(sluice_engine* engine, sluice_error* error) noexcept {
  return guard(error, __func__, [&] {
    checked_engine(engine).abort_weights();
    return SLUICE_STATUS_OK;
  });
}
