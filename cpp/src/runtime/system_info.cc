#include "runtime/system_info.h"

#include "base/error.h"
#include "device/cpu.h"
#include "device/cuda.h"
#include "model/proto_message.h"
#include "ops/gemm/gemm.h"
#include "runtime/cuda_libraries.h"

namespace sluice {
namespace {

#if defined(__clang__)
constexpr const char* kCompiler = "clang " __clang_version__;
#else
constexpr const char* kCompiler = "gcc " __VERSION__;
#endif

Sluice__Proto__LibraryInfo* describe_onednn(const std::string& path, ProtoArena* arena) {
  const OneDnnInfo found = probe_onednn(path);
  auto* library = arena->make(sluice__proto__library_info__init);
  library->name = arena->text("oneDNN");
  library->path = arena->text(found.path);
  if (!found.version.empty()) library->version = arena->text(found.version);
  if (!found.problem.empty()) library->problem = arena->text(found.problem);
  return library;
}

Sluice__Proto__LibraryInfo* describe_library(const CudaLibraryInfo& found, ProtoArena* arena) {
  auto* library = arena->make(sluice__proto__library_info__init);
  library->name = arena->text(found.name);
  library->path = arena->text(found.path);
  if (!found.version.empty()) library->version = arena->text(found.version);
  if (!found.problem.empty()) library->problem = arena->text(found.problem);
  return library;
}

Sluice__Proto__DeviceInfo* describe_device(const CudaDeviceInfo& found, const std::string& driver,
                                           ProtoArena* arena) {
  auto* device = arena->make(sluice__proto__device_info__init);
  device->has_backend = 1;
  device->backend = SLUICE__PROTO__BACKEND__CUDA;
  device->has_index = 1;
  device->index = static_cast<uint32_t>(found.index);
  device->name = arena->text(found.name);
  device->has_memory_bytes = 1;
  device->memory_bytes = static_cast<uint64_t>(found.memory_bytes);
  device->has_memory_free_bytes = 1;
  device->memory_free_bytes = static_cast<uint64_t>(found.memory_free_bytes);
  device->driver = arena->text(driver);
  device->capability = arena->text(concat(found.capability / 10, ".", found.capability % 10));
  return device;
}

}  // namespace

std::vector<uint8_t> make_library_info(const std::string& name, const std::string& path) {
  ProtoArena arena;
  return pack_message((name == "oneDNN" ? describe_onednn(path, &arena)
                                        : describe_library(probe_cuda_library(name, path), &arena))
                          ->base);
}

std::vector<uint8_t> make_system_info(const std::string& onednn_path, const std::string& version) {
  ProtoArena arena;
  const CpuInfo cpu = cpu_info();
  auto* info = arena.make(sluice__proto__system_info__init);
  info->version = arena.text(version);
  info->compiler = arena.text(kCompiler);
  info->cpu_name = arena.text(cpu.name);
  std::vector<char*> features;
  for (const std::string& feature : cpu.features) features.push_back(arena.text(feature));
  info->n_cpu_features = features.size();
  info->cpu_features = arena.array(features);
  info->has_num_cores = 1;
  info->num_cores = static_cast<uint32_t>(cpu.num_cores);
  info->has_memory_bytes = 1;
  info->memory_bytes = static_cast<uint64_t>(cpu.memory_bytes);
  info->has_memory_free_bytes = 1;
  info->memory_free_bytes = static_cast<uint64_t>(cpu.memory_free_bytes);

  auto* device = arena.make(sluice__proto__device_info__init);
  device->has_backend = 1;
  device->backend = SLUICE__PROTO__BACKEND__CPU;
  device->has_index = 1;
  device->name = info->cpu_name;
  device->has_memory_bytes = 1;
  device->memory_bytes = info->memory_bytes;
  device->has_memory_free_bytes = 1;
  device->memory_free_bytes = info->memory_free_bytes;
  device->capability = arena.text(std::string(isa_name(detect_isa())));
  std::vector devices{device};
  std::vector libraries{describe_onednn(onednn_path, &arena)};
  std::vector backends{SLUICE__PROTO__BACKEND__CPU};
  if constexpr (kCudaBuilt) {
    backends.push_back(SLUICE__PROTO__BACKEND__CUDA);
    const CudaInfo cuda = cuda_info();
    for (const CudaDeviceInfo& found : cuda.devices) {
      devices.push_back(describe_device(found, cuda.driver, &arena));
    }
    libraries.push_back(describe_library(
        {"CUDA runtime", cuda.runtime, "linked into this library", {}}, &arena));
    libraries.push_back(
        describe_library({"CUDA driver", cuda.driver, "libcuda.so.1", cuda.problem}, &arena));
    for (const CudaLibraryInfo& found : probe_cuda_libraries()) {
      libraries.push_back(describe_library(found, &arena));
    }
  }
  info->n_devices = devices.size();
  info->devices = arena.array(devices);
  info->n_libraries = libraries.size();
  info->libraries = arena.array(libraries);

  std::vector<Sluice__Proto__KernelChoice*> kernels;
  for (const char* op : {"attention", "norm", "rope", "activation", "sampling", "gemm, few rows"}) {
    auto* kernel = arena.make(sluice__proto__kernel_choice__init);
    kernel->op = arena.text(op);
    kernel->variant = device->capability;
    kernel->reason = arena.text("best that the processor has");
    kernels.push_back(kernel);
  }
  info->n_kernels = kernels.size();
  info->kernels = arena.array(kernels);
  info->n_built_backends = backends.size();
  info->built_backends = arena.array(backends);
  return pack_message(info->base);
}

}  // namespace sluice
