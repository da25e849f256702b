# Copies FILES, stripped, to TARGET_DIR and writes natives.sha256 beside them: a line for each, and for
# oneDNN and its OpenMP runtime in ONEDNN_ROOT, which travel in a jar of their own. VARIANT is PLATFORM
# or PLATFORM with what the build has besides, as -cuda13.
file(REMOVE_RECURSE "${TARGET_DIR}")
file(MAKE_DIRECTORY "${TARGET_DIR}")
set(index "")
foreach(file ${FILES})
  get_filename_component(name "${file}" NAME)
  execute_process(
    COMMAND "${STRIP}" --strip-unneeded -o "${TARGET_DIR}/${name}" "${file}"
    COMMAND_ERROR_IS_FATAL ANY)
  file(SHA256 "${TARGET_DIR}/${name}" hash)
  string(APPEND index "${hash}  ai/sluice/natives/${VARIANT}/${name}\n")
endforeach()
foreach(name libdnnl.so.3 libgomp.so.1)
  file(SHA256 "${ONEDNN_ROOT}/${name}" hash)
  string(APPEND index "${hash}  org/bytedeco/dnnl/${PLATFORM}/${name}\n")
endforeach()
file(WRITE "${TARGET_DIR}/natives.sha256" "${index}")
