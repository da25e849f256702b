/// @file
/// Kernels compiled once per instruction set, each in a namespace of its own, and the choice at run
/// time. A kernel source is compiled by sluice_add_isa_sources with SLUICE_ISA_NAMESPACE set; it
/// must define nothing outside that namespace and instantiate no template of the standard library
/// that the compiler may emit out of line, else the linker could keep the AVX copy for everybody (a
/// test looks for weak symbols).
#ifndef SLUICE_OPS_SIMD_DISPATCH_H_
#define SLUICE_OPS_SIMD_DISPATCH_H_

#include "device/cpu.h"

#if defined(__x86_64__)
#define SLUICE_FOR_EACH_ISA(declare) \
  declare(isa_portable) declare(isa_avx2) declare(isa_avx512) declare(isa_avx512_bf16)
/// Address of the function's copy for `isa`.
#define SLUICE_SELECT_ISA(isa, function)                  \
  ((isa) == Isa::kAvx512Bf16 ? &isa_avx512_bf16::function \
   : (isa) == Isa::kAvx512   ? &isa_avx512::function      \
   : (isa) == Isa::kAvx2     ? &isa_avx2::function        \
                             : &isa_portable::function)
#else
#define SLUICE_FOR_EACH_ISA(declare) declare(isa_portable)
#define SLUICE_SELECT_ISA(isa, function) (&isa_portable::function)
#endif

#endif  // SLUICE_OPS_SIMD_DISPATCH_H_
