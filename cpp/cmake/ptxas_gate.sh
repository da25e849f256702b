#!/usr/bin/env bash
# ptxas_gate.sh COMMAND...: runs a CUDA compiler (CMAKE_CUDA_COMPILER_LAUNCHER) with -Xptxas=-v.
#
# Fails where ptxas says that it took a kernel's speed away: wgmma made serial (C7510 and its kin), or
# setmaxnreg ignored (C7508). Such a kernel is correct and several times slower, and ptxas calls
# that information, which no warning flag turns into an error. Registers spilled to memory are told
# and allowed. The rest of what -v says is dropped.
log=$("$@" 2>&1)
status=$?
lost=$(grep -E 'Potential Performance Loss|\(C7508\)|\(C7510\)' <<<"$log")
awk '
  # -v names a kernel before its numbers.
  match($0, /(Function properties for|Compiling entry function) [^ ]+/) {
    kernel = $NF; sub(/^.*(Function properties for|Compiling entry function) /, "", kernel)
    sub(/ for .*$/, "", kernel); gsub(/\047/, "", kernel)
    next
  }
  /bytes stack frame, .*spill stores/ {
    if ($0 !~ / 0 bytes spill stores, 0 bytes spill loads/) { sub(/^ +/, ""); print kernel ": " $0 }
    next
  }
  /^ptxas info *: (Used [0-9]+ registers|[0-9]+ bytes gmem|Compile time)/ || /^ +Compile time/ { next }
  { print }' <<<"$log" | sed '/^$/d' >&2
if [ "$status" = 0 ] && [ -n "$lost" ]; then
  echo "ptxas: the speed of a kernel is lost (expected: none of the above Potential Performance Loss," \
       "C7508, C7510; remedy: fewer registers, no calls and no asserts between wgmma and its wait)" >&2
  # What failed must not look built.
  while [ $# -gt 0 ]; do [ "$1" = -o ] && rm -f "$2"; shift; done
  exit 1
fi
exit "$status"
