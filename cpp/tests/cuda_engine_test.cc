// Tests of the whole engine on CUDA device 0: those of the CPU's engine that mean the same there,
// and what only a device has. It needs a GPU, so ctest does not know of it.
//
//   cuda_engine_test GOLDEN_DIR [gtest flags]      GOLDEN_DIR holds fixtures/
#include <gtest/gtest.h>

#include <cstdio>

#include "support/settings.h"

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s GOLDEN_DIR [gtest flags]\n", argv[0]);
    return 2;
  }
  sluice::test::settings().backend = SLUICE__PROTO__BACKEND__CUDA;
  sluice::test::settings().golden_dir = argv[1];
  return RUN_ALL_TESTS();
}
