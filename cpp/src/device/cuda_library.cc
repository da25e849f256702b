#include "device/cuda_library.h"

#include <dlfcn.h>
#include <link.h>
#include <sys/stat.h>

#include <cstdlib>
#include <vector>

#include "base/error.h"

namespace sluice {
namespace {

std::vector<std::string> places(const std::string& file, const std::string& path) {
  if (!path.empty()) {
    struct stat found{};
    if (stat(path.c_str(), &found) == 0 && S_ISDIR(found.st_mode)) return {path + "/" + file};
    return {path};
  }
  std::vector<std::string> out{file};
  if (const char* cuda = std::getenv("CUDA_PATH"); cuda != nullptr && *cuda != 0) {
    out.push_back(concat(cuda, "/lib64/", file));
    out.push_back(concat(cuda, "/lib/", file));
  }
  out.push_back("/usr/local/cuda/lib64/" + file);
  return out;
}

}  // namespace

CudaLibrary open_cuda_library(const std::string& file, const std::string& path) {
  CudaLibrary out;
  for (const std::string& place : places(file, path)) {
    out.handle = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL);
    out.path = place;
    if (out.handle != nullptr) break;
    const char* reason = dlerror();
    out.reasons += concat(out.reasons.empty() ? "" : "; ", place, ": ",
                          reason == nullptr ? "" : reason);
  }
  link_map* map = nullptr;  // the file, not the name that found it
  if (out.handle != nullptr && dlinfo(out.handle, RTLD_DI_LINKMAP, &map) == 0 && map != nullptr) {
    out.path = map->l_name;
  }
  return out;
}

}  // namespace sluice
