# The CUDA backend: found toolkit, architectures, and how sources become part of a folder's target.
#
# SLUICE_CUDA             builds the CUDA backend beside the CPU's
# SLUICE_CUDA_PORTABLE    also machine code and PTX for GPUs without kernels of their own (sm_80)
#
# The toolkit is that of CMAKE_CUDA_COMPILER, else of $CUDA_PATH, else nvcc of $PATH or in
# /usr/local/cuda, else the folder that cuda_toolkit.py makes.
#
# sluice_add_cuda_sources(TARGET SOURCES ...)   kernels for any GPU
# sluice_add_sm90_sources(TARGET SOURCES ...)   kernels that use Hopper's own instructions; compiled
#   for sm_90a alone, and called only where CudaExec says that the device has them
# sluice_add_cuda_test(SOURCES ... DEPENDS folder ...)   sources of the one program cuda_ops_test,
#   which needs a GPU and is therefore not known to ctest; see tests/gpu
option(SLUICE_CUDA "Build the CUDA backend" OFF)
option(SLUICE_CUDA_PORTABLE "Also compile CUDA kernels for sm_80 and as PTX" ON)

if(SLUICE_CUDA)
  if(NOT CMAKE_CUDA_COMPILER)
    find_program(CMAKE_CUDA_COMPILER nvcc NO_DEFAULT_PATH PATHS ENV CUDA_PATH PATH_SUFFIXES bin)
    find_program(CMAKE_CUDA_COMPILER nvcc
                 PATHS /usr/local/cuda/bin "$ENV{HOME}/.cache/sluice/cuda-13.0.3/bin")
    if(NOT CMAKE_CUDA_COMPILER)
      message(FATAL_ERROR "CUDA: no nvcc (expected: a toolkit 13.0 or later in $CUDA_PATH, $PATH or "
                          "/usr/local/cuda; remedy: python3 cpp/cmake/cuda_toolkit.py makes one)")
    endif()
  endif()
  set(CMAKE_CUDA_ARCHITECTURES 90a-real)
  if(SLUICE_CUDA_PORTABLE)
    list(APPEND CMAKE_CUDA_ARCHITECTURES 80)
  endif()
  enable_language(CUDA)
  if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 13.0)
    message(FATAL_ERROR "CUDA: nvcc ${CMAKE_CUDA_COMPILER_VERSION} (expected: 13.0 or later; remedy: "
                        "python3 cpp/cmake/cuda_toolkit.py, or set CUDA_PATH)")
  endif()
  # Not FindCUDAToolkit: CMake 3.25's fails on a toolkit without NVTX, as the wheels' is.
  find_path(SLUICE_CUDA_INCLUDE cuda_runtime.h REQUIRED
            HINTS ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
  find_library(SLUICE_CUDART NAMES libcudart_static.a REQUIRED
               HINTS "${SLUICE_CUDA_INCLUDE}/../lib64" "${SLUICE_CUDA_INCLUDE}/../lib"
                     "${SLUICE_CUDA_INCLUDE}/../../../lib"
                     ${CMAKE_CUDA_IMPLICIT_LINK_DIRECTORIES})
  find_package(Threads REQUIRED)
  add_library(sluice_cudart INTERFACE)
  target_include_directories(sluice_cudart SYSTEM INTERFACE "${SLUICE_CUDA_INCLUDE}")
  target_link_libraries(sluice_cudart INTERFACE
    "${SLUICE_CUDART}" Threads::Threads ${CMAKE_DL_LIBS} rt)
  # CMake 3.25 does not see by itself that nvcc 13 knows C++20.
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
    list(APPEND CMAKE_CUDA_COMPILE_FEATURES cuda_std_20)
  endif()
  set(CMAKE_CUDA_STANDARD 20)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
  # Asserts inside kernels would keep ptxas from overlapping wgmma (C7510).
  set(CMAKE_CUDA_FLAGS_RELEASE "-O3 -DNDEBUG")
  set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
  # Outside a compiler cache, which keeps what the compiler says too.
  set(CMAKE_CUDA_COMPILER_LAUNCHER
      "${CMAKE_SOURCE_DIR}/cpp/cmake/ptxas_gate.sh" ${CMAKE_CUDA_COMPILER_LAUNCHER})
endif()

function(sluice_cuda_options target)
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:
    --expt-relaxed-constexpr --extended-lambda -Xcompiler=-Wall,-Wextra,-Wno-psabi
    -Werror=all-warnings --display-error-number -Xptxas=-v>)
endfunction()

function(sluice_add_cuda_sources target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES")
  if(SLUICE_CUDA)
    target_sources(${target} PRIVATE ${arg_SOURCES})
    sluice_cuda_options(${target})
    target_link_libraries(${target} PUBLIC sluice_cudart)
  endif()
endfunction()

function(sluice_add_sm90_sources target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES")
  if(SLUICE_CUDA)
    if(NOT TARGET ${target}_sm90)
      add_library(${target}_sm90 OBJECT)
      set_target_properties(${target}_sm90 PROPERTIES CUDA_ARCHITECTURES 90a-real)
      sluice_cuda_options(${target}_sm90)
      target_link_libraries(${target}_sm90 PRIVATE sluice_options sluice_cudart)
      target_include_directories(${target}_sm90 PRIVATE
        $<TARGET_PROPERTY:${target},INCLUDE_DIRECTORIES>)
      target_sources(${target} PRIVATE $<TARGET_OBJECTS:${target}_sm90>)
    endif()
    target_sources(${target}_sm90 PRIVATE ${arg_SOURCES})
  endif()
endfunction()

function(sluice_add_cuda_test)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "" "SOURCES;DEPENDS")
  if(SLUICE_CUDA AND SLUICE_BUILD_TESTS)
    if(NOT TARGET cuda_ops_test)
      add_executable(cuda_ops_test)
      target_link_libraries(cuda_ops_test PRIVATE sluice_options GTest::gtest_main sluice_cudart)
    endif()
    foreach(source ${arg_SOURCES})
      target_sources(cuda_ops_test PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}/${source}")
    endforeach()
    foreach(folder ${arg_DEPENDS})
      target_link_libraries(cuda_ops_test PRIVATE sluice_${folder})
    endforeach()
  endif()
endfunction()
