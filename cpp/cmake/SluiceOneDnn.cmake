# oneDNN's headers. The library itself is opened at run time and never linked.
#
# SLUICE_ONEDNN_ROOT  folder with include/ and libdnnl.so.3
# SLUICE_ONEDNN_JAR   the classifier jar that carries both; unpacked into SLUICE_ONEDNN_ROOT when that
#                     folder lacks the headers
set(SLUICE_ONEDNN_ROOT "${CMAKE_SOURCE_DIR}/build/onednn" CACHE PATH
    "Folder with oneDNN's include/ and libdnnl.so.3")
set(SLUICE_ONEDNN_JAR
    "$ENV{HOME}/.m2/repository/org/bytedeco/dnnl/3.11-1.5.13/dnnl-3.11-1.5.13-linux-x86_64.jar"
    CACHE FILEPATH "Jar org.bytedeco:dnnl with the classifier of this platform")

if(NOT EXISTS "${SLUICE_ONEDNN_ROOT}/include/oneapi/dnnl/dnnl.h" OR
   NOT EXISTS "${SLUICE_ONEDNN_ROOT}/libdnnl.so.3")
  if(NOT EXISTS "${SLUICE_ONEDNN_JAR}")
    message(FATAL_ERROR
      "oneDNN's headers: not found in ${SLUICE_ONEDNN_ROOT}, and no jar at ${SLUICE_ONEDNN_JAR} "
      "(remedy: fetch org.bytedeco:dnnl:3.11-1.5.13 with classifier linux-x86_64 and pass "
      "-DSLUICE_ONEDNN_JAR=FILE, or pass -DSLUICE_ONEDNN_ROOT=FOLDER)")
  endif()
  set(_unpacked "${SLUICE_ONEDNN_ROOT}.unpack")
  file(REMOVE_RECURSE "${_unpacked}")
  file(MAKE_DIRECTORY "${_unpacked}" "${SLUICE_ONEDNN_ROOT}")
  set(_platform "org/bytedeco/dnnl/linux-x86_64")
  execute_process(
    COMMAND "${CMAKE_COMMAND}" -E tar x "${SLUICE_ONEDNN_JAR}" --
            "${_platform}/include" "${_platform}/libdnnl.so.3" "${_platform}/libgomp.so.1"
    WORKING_DIRECTORY "${_unpacked}" COMMAND_ERROR_IS_FATAL ANY)
  foreach(item include libdnnl.so.3 libgomp.so.1)
    file(REMOVE_RECURSE "${SLUICE_ONEDNN_ROOT}/${item}")
    file(RENAME "${_unpacked}/${_platform}/${item}" "${SLUICE_ONEDNN_ROOT}/${item}")
  endforeach()
  file(REMOVE_RECURSE "${_unpacked}")
endif()
