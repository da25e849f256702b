/* What CUDA's runtime asks of libcuda.so.1 before anything else, as a driver for CUDA 12.8 answers. */
#include <stddef.h>

int cuDriverGetVersion(int* version) {
  *version = 12080;
  return 0;
}

int cuInit(unsigned flags) {
  (void)flags;
  return 0;
}
