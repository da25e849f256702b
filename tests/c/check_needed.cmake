# The library starts wherever a C++ runtime is: the driver, cuBLAS, cuDNN, NCCL and oneDNN are opened
# when they are used, and CUDA's runtime is linked inside.
cmake_policy(SET CMP0057 NEW)
execute_process(COMMAND "${READELF}" -d "${LIBRARY}"
  OUTPUT_VARIABLE dynamic COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "\\(NEEDED\\)[^\n]*\\[([^]]+)\\]" entries "${dynamic}")
list(LENGTH entries count)
if(count EQUAL 0)
  message(FATAL_ERROR "${LIBRARY}: no entry of needed libraries was found")
endif()
# The sanitizers' runtimes are those of an instrumented build.
set(allowed libc libm libdl librt libpthread libstdc++ libgcc_s libgomp ld-linux-x86-64 libasan libubsan)
foreach(entry IN LISTS entries)
  string(REGEX REPLACE ".*\\[([^]]+)\\]" "\\1" file "${entry}")
  string(REGEX REPLACE "\\.so.*" "" name "${file}")
  if(NOT name IN_LIST allowed)
    message(FATAL_ERROR "${LIBRARY} needs ${file} (expected: only ${allowed})")
  endif()
endforeach()
message(STATUS "${count} libraries needed, all of them the system's")
