/// @file
/// What all tests of a program run on.
#ifndef SLUICE_TESTS_SUPPORT_SETTINGS_H_
#define SLUICE_TESTS_SUPPORT_SETTINGS_H_

#include <string>

#include "model/proto_message.h"

namespace sluice::test {

/// Set by main() before any test; the CPU and the source tree's fixtures where nobody sets it.
struct Settings {
  Sluice__Proto__Backend backend = SLUICE__PROTO__BACKEND__CPU;
  std::string golden_dir;  ///< holds fixtures/

  bool cuda() const { return backend == SLUICE__PROTO__BACKEND__CUDA; }
};
Settings& settings();

}  // namespace sluice::test
#endif  // SLUICE_TESTS_SUPPORT_SETTINGS_H_
