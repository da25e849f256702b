/// @file
/// What the library knows of the machine that it runs on.
#ifndef SLUICE_RUNTIME_SYSTEM_INFO_H_
#define SLUICE_RUNTIME_SYSTEM_INFO_H_

#include <cstdint>
#include <string>
#include <vector>

namespace sluice {

/// Serialised SystemInfo. A library that cannot be opened is described, not thrown.
/// @param onednn_path  file to try; empty: the system's search path
std::vector<uint8_t> make_system_info(const std::string& onednn_path, const std::string& version);

/// Serialised LibraryInfo; see sluice_library_info. @param path  empty: the library's own search
/// @throws Error INVALID_ARGUMENT for an unknown name
std::vector<uint8_t> make_library_info(const std::string& name, const std::string& path);

}  // namespace sluice
#endif  // SLUICE_RUNTIME_SYSTEM_INFO_H_
