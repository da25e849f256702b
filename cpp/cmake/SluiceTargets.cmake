# How every folder of cpp/src becomes a target.
#
# sluice_add_folder(NAME SOURCES ... [DEPENDS folder ...])   static, position independent sluice_NAME.
#   Its headers are seen as "NAME/file.h" by those who link it, and by nobody else: the include path
#   is a folder that holds one link. Dependencies are PRIVATE, so an include of a folder that is not
#   named in DEPENDS does not compile.
# sluice_add_isa_sources(TARGET SOURCES ...)   compiles each source once per instruction set of
#   SLUICE_ISAS, with SLUICE_ISA_NAMESPACE and the compiler flags of that set.
# sluice_add_test(NAME SOURCES ... DEPENDS folder ...)       a gtest program run by ctest.

add_library(sluice_options INTERFACE)
# -Wno-restrict: GCC 12 sees overlaps in std::string's own concatenation (PR 105651).
target_compile_options(sluice_options INTERFACE $<$<COMPILE_LANGUAGE:C,CXX>:
  -Wall -Wextra -Wpedantic -Wshadow -Wno-psabi -Wno-restrict -Werror
  -fno-math-errno -ffile-prefix-map=${CMAKE_SOURCE_DIR}/=>)
if(SLUICE_CUDA)
  target_compile_definitions(sluice_options INTERFACE SLUICE_CUDA=1)
endif()
if(SLUICE_SANITIZE)
  target_compile_options(sluice_options INTERFACE
    -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g1 -O1)
  target_link_options(sluice_options INTERFACE -fsanitize=address,undefined)
endif()
target_include_directories(sluice_options INTERFACE "${CMAKE_SOURCE_DIR}/cpp/include")

# After sluice_options, since the last of contrary flags counts.
add_library(sluice_isa_options INTERFACE)
if(SLUICE_SANITIZE)
  # AddressSanitizer sees the same bad accesses; these checks make the inlined kernels compile for
  # minutes.
  target_compile_options(sluice_isa_options INTERFACE
    -fno-sanitize=alignment,null,object-size,pointer-overflow,bounds)
endif()

function(sluice_add_folder name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;DEPENDS")
  set(include_dir "${CMAKE_BINARY_DIR}/include/${name}")
  file(MAKE_DIRECTORY "${include_dir}")
  if(NOT EXISTS "${include_dir}/${name}")
    file(CREATE_LINK "${CMAKE_CURRENT_SOURCE_DIR}" "${include_dir}/${name}" SYMBOLIC)
  endif()
  add_library(sluice_${name} STATIC ${arg_SOURCES})
  target_include_directories(sluice_${name} PUBLIC "${include_dir}")
  target_link_libraries(sluice_${name} PRIVATE sluice_options)
  foreach(folder ${arg_DEPENDS})
    target_link_libraries(sluice_${name} PRIVATE sluice_${folder})
  endforeach()
endfunction()

set(SLUICE_ISAS portable)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  list(APPEND SLUICE_ISAS avx2 avx512 avx512_bf16)
endif()
set(SLUICE_ISA_FLAGS_portable "")
set(SLUICE_ISA_FLAGS_avx2 -mavx2 -mfma -mf16c)
set(SLUICE_ISA_FLAGS_avx512
  ${SLUICE_ISA_FLAGS_avx2} -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512)
set(SLUICE_ISA_FLAGS_avx512_bf16 ${SLUICE_ISA_FLAGS_avx512} -mavx512bf16)

function(sluice_add_isa_sources target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES")
  foreach(isa ${SLUICE_ISAS})
    if(NOT TARGET ${target}_${isa})
      add_library(${target}_${isa} OBJECT)
      target_compile_definitions(${target}_${isa} PRIVATE
        SLUICE_ISA_NAMESPACE=isa_${isa} SLUICE_ISA_${isa}=1)
      # No contraction: a product and a sum are fused only where the source says so, so that every
      # row of a batch is computed alike.
      target_compile_options(${target}_${isa} PRIVATE
        ${SLUICE_ISA_FLAGS_${isa}} -ffp-contract=off -fno-trapping-math)
      # The portable set is the fallback of rare processors: not worth three times the compile time.
      if(NOT SLUICE_SANITIZE AND NOT isa STREQUAL "portable")
        target_compile_options(${target}_${isa} PRIVATE -O3)
      elseif(NOT SLUICE_SANITIZE)
        target_compile_options(${target}_${isa} PRIVATE -O2)
      endif()
      target_link_libraries(${target}_${isa} PRIVATE sluice_options sluice_isa_options)
      # GCC 12 takes its own intrinsics' "undefined" operands for uninitialised variables (PR 105593).
      target_compile_options(${target}_${isa} PRIVATE -Wno-uninitialized -Wno-maybe-uninitialized)
      target_include_directories(${target}_${isa} PRIVATE
        $<TARGET_PROPERTY:${target},INCLUDE_DIRECTORIES>)
      target_sources(${target} PRIVATE $<TARGET_OBJECTS:${target}_${isa}>)
    endif()
    target_sources(${target}_${isa} PRIVATE ${arg_SOURCES})
  endforeach()
endfunction()

function(sluice_add_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;DEPENDS")
  if(SLUICE_BUILD_TESTS)
    add_executable(${name} ${arg_SOURCES})
    target_link_libraries(${name} PRIVATE sluice_options GTest::gtest_main)
    foreach(folder ${arg_DEPENDS})
      target_link_libraries(${name} PRIVATE sluice_${folder})
    endforeach()
    target_compile_definitions(${name} PRIVATE
      SLUICE_TEST_ONEDNN_PATH="${SLUICE_ONEDNN_ROOT}/libdnnl.so.3"
      SLUICE_TEST_GOLDEN_DIR="${CMAKE_SOURCE_DIR}/tests/golden")
    add_test(NAME ${name} COMMAND ${name})
  endif()
endfunction()
