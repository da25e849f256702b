# Sourced by ../sluice: what ./sluice test runs. One line per suite while it runs; each part's whole
# output is in a log of its own, and the runners' own closing lines are repeated at the end.

failed=()      # parts that failed
summaries=()   # closing lines of the runners
part_log=      # log of the part that runs now

# suite NAME COUNT SECONDS: the line of one suite.
suite() { printf '    %-56s %6s %9s s\n' "$1" "$2" "$3"; }

# part NAME FILTER COMMAND...: runs COMMAND, whose output goes to a log and through FILTER.
part() {
  local name=$1 filter=$2 begin=$SECONDS
  shift 2
  part_log=$logs/test-${name// /-}.log
  mkdir -p "$logs"
  printf '%s\n' "$name"
  if "$@" </dev/null 2>&1 | tee "$part_log" | "$filter" \
    && ! grep -qE 'There (are test failures|was a timeout)' "$part_log"; then  # Maven goes on to the other modules.
    printf '  passed in %d s\n' $((SECONDS - begin))
  else
    failed+=("$name")
    printf '  FAILED after %d s; the whole log: %s\n' $((SECONDS - begin)) "$part_log"
    grep -E '\[ +FAILED +\]|\*\*\*Failed|\[ERROR\]|^(FAIL|ERROR):|SUMMARY: ' "$part_log" \
      | head -n 40 || true
  fi
}

# close PATTERN: keeps the closing lines of the part that ran last.
close() {
  local line
  while IFS= read -r line; do
    summaries+=("$line")
  done < <(grep -E "$1" "$part_log" | tail -n "${2:-1}")
}

ctest_lines() {
  local line count=
  local passed='\[  PASSED  \] ([0-9]+) test' done_='Test +#[0-9]+: ([^ ]+) .* ([0-9.]+) sec'
  while IFS= read -r line; do
    if [[ $line =~ $passed ]]; then
      count=${BASH_REMATCH[1]}
    elif [[ $line =~ $done_ ]]; then
      suite "${BASH_REMATCH[1]}" "${count:-1}" "${BASH_REMATCH[2]}"
      count=
    fi
  done
}

surefire_lines() {
  local line
  local done_='Tests run: ([0-9]+), .*Time elapsed: ([0-9.,]+) s.* in ([^ ]+)$'
  while IFS= read -r line; do
    if [[ $line =~ $done_ ]]; then
      suite "${BASH_REMATCH[3]}" "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}"
    fi
  done
}

unittest_lines() {
  local line skipped=0
  local done_='^Ran ([0-9]+) tests? in ([0-9.]+)s'
  while IFS= read -r line; do
    case $line in *"skipped 'torch is not installed'") skipped=$((skipped + 1)) ;; esac
    if [[ $line =~ $done_ ]]; then
      suite sluice_export "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}"
    fi
  done
  [ "$skipped" = 0 ] || printf '    torch is not installed: %d tests of it were skipped\n' "$skipped"
}

launcher_lines() { sed -u 's/^/    /'; }

native_tests_build() (
  cd "$root"
  cmake --preset cpu -DSLUICE_BUILD_TESTS=ON
  cmake --build --preset cpu
)

asan_build() (
  cd "$root"
  local onednn_jar
  onednn_jar=$(sed -n 's/^SLUICE_ONEDNN_JAR:[A-Z]*=//p' build/cpu/CMakeCache.txt)
  cmake --preset cpu-asan "-DSLUICE_ONEDNN_JAR=$onednn_jar"
  cmake --build --preset cpu-asan
)

# Everything of the cuda preset, for sm_90a and for sm_80 with PTX: library, natives, tests, benches.
cuda_build() (
  cd "$root"
  local onednn_jar javacpp_jar
  onednn_jar=$(sed -n 's/^SLUICE_ONEDNN_JAR:[A-Z]*=//p' build/cpu/CMakeCache.txt)
  javacpp_jar=$(sed -n 's/^SLUICE_JAVACPP_JAR:[A-Z]*=//p' build/cpu/CMakeCache.txt)
  cmake --preset cuda -DSLUICE_BUILD_TESTS=ON -DSLUICE_BUILD_BENCH=ON \
    "-DSLUICE_ONEDNN_JAR=$onednn_jar" "-DSLUICE_JAVACPP_JAR=$javacpp_jar"
  cmake --build --preset cuda
)

python_environment() {
  local venv=$root/target/python-venv
  [ -x "$venv/bin/pip" ] || python3 -m venv "$venv"
  "$venv/bin/pip" install -q --disable-pip-version-check -e "$root/python-export"
}

python_tests() (
  cd "$root/python-export"
  "$root/target/python-venv/bin/python" -m unittest discover -v -s tests -t .
)

# Another JDK than the one that built, the newest there is.
second_jdk() {
  local home version best=0
  for home in /usr/lib/jvm/*; do
    [ ! -L "$home" ] && version=$(jdk_major "$home") || continue
    [ "$version" -gt "$best" ] && [ "$version" -ne "$major" ] || continue
    best=$version
    other_jdk=$home
    other_major=$version
  done
  [ "$best" -ge "$min_jdk" ]
}

run_tests() {
  local all=false excluded=long other_jdk= other_major= begin=$SECONDS
  case "${1:-}" in
    '') ;;
    --all) all=true; excluded=none ;;
    *) die "test $1 (expected: nothing, or --all)" ;;
  esac
  lock
  set_up test
  find_jdk || die "no JDK of version $min_jdk or later (remedy: set JAVA_HOME)"
  phase "native engine" maven package -Dmaven.test.skip=true -pl java/sluice-native -am
  phase "native tests" native_tests_build
  if $all; then
    phase "sanitized native tests" asan_build
    find_cuda
    phase "CUDA for sm_90a and sm_80" cuda_build
    ! grep 'bytes spill stores' "$logs/CUDA-for-sm_90a-and-sm_80.log" | sed 's/^/    /' || true
  fi
  phase "python environment" python_environment

  part "C++ and C" ctest_lines ctest --test-dir "$root/build/cpu" -V
  close '% tests passed|Total Test time' 2
  part "Java $major" surefire_lines maven package -Dmaven.test.failure.ignore=true \
    "-Dsluice.test.excluded=$excluded"
  close '\[(INFO|WARNING|ERROR)\] Tests run: [0-9]+, Failures: [0-9]+, Errors: [0-9]+, Skipped: [0-9]+$' 20
  part "Python" unittest_lines python_tests
  close '^Ran [0-9]+ test|^OK|^FAILED' 2
  unlock  # The next two call the launcher.
  part "launcher" launcher_lines "$root/tests/launcher.sh"
  close '^[0-9]+ passed, [0-9]+ failed$'
  part "consumer project" surefire_lines "$root/tests/consumer/run.sh"
  close 'Tests run: [0-9]+, Failures: [0-9]+, Errors: [0-9]+, Skipped: [0-9]+$'
  lock
  if $all; then
    part "C++ and C, ASan and UBSan" ctest_lines \
      env UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 ASAN_OPTIONS=detect_leaks=1 \
      ctest --test-dir "$root/build/cpu-asan" -V
    close '% tests passed|Total Test time' 2
    part "CUDA build without a GPU" ctest_lines ctest --test-dir "$root/build/cuda" -V \
      -R '^sluice_(c_test|exports|needs)'
    close '% tests passed|Total Test time' 2
    if second_jdk; then
      part "Java $other_major" surefire_lines maven package -Dmaven.test.failure.ignore=true \
        "-Dsluice.test.excluded=$excluded" \
        "-Djvm=$other_jdk/bin/java" "-Dsluice.test.args=$(jdk_flags "$other_major" | paste -sd' ')"
      close '\[(INFO|WARNING|ERROR)\] Tests run: [0-9]+, Failures: [0-9]+, Errors: [0-9]+, Skipped: [0-9]+$' 20
    else
      printf 'Java, second JDK: SKIPPED, only version %s is installed in /usr/lib/jvm\n' "$major"
    fi
  fi

  printf '\nClosing lines of the runners (logs: %s), %d s in all:\n' "$logs" $((SECONDS - begin))
  printf '%s\n' "${summaries[@]}"
  if [ ${#failed[@]} -gt 0 ]; then
    printf 'FAILED: %s\n' "${failed[*]}"
    exit 1
  fi
}
