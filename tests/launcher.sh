#!/usr/bin/env bash
# Tests of ../sluice and of the command line behind it, as a person calls them. Prints one line per
# test and a closing line with the counts.
set -uo pipefail
root=$(readlink -f "$(dirname "${BASH_SOURCE[0]}")/..")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0
failures=0

# check NAME STATUS PATTERN COMMAND...: the command ends with the status and prints the pattern.
check() {
  local name=$1 want=$2 pattern=$3 status=0
  shift 3
  "$@" >"$work/out" 2>&1 </dev/null || status=$?
  if [ "$status" = "$want" ] && { [ -z "$pattern" ] || grep -qE -- "$pattern" "$work/out"; }; then
    passed=$((passed + 1))
    printf 'ok    %s\n' "$name"
  else
    failures=$((failures + 1))
    printf 'FAIL: %s: status %s (expected: %s), output (expected: %s):\n' \
      "$name" "$status" "$want" "$pattern"
    head -n 40 "$work/out"
  fi
}

# Both calls find a build to do; one does it, and both then answer.
two_at_once() {
  local first
  rm -f "$root/target/launcher/fingerprint"
  "$root/sluice" --version >"$work/first" 2>&1 &
  first=$!
  "$root/sluice" --version >"$work/second" 2>&1 || return 1
  wait "$first" || return 1
  [ "$(cat "$work/first" "$work/second" | grep -c '^sluice [0-9]')" = 2 ] || return 2
  [ "$(cat "$work/first" "$work/second" | grep -c '^building')" = 1 ] || return 3
  echo done
}

unchanged_is_not_built() {
  local before after
  before=$(stat -c %y "$root/target/launcher/java.args")
  "$root/sluice" --version || return 1
  after=$(stat -c %y "$root/target/launcher/java.args")
  [ "$before" = "$after" ]
}

a_change_is_noticed() {
  touch "$root/java/sluice-cli/src/main/java/ai/sluice/cli/Main.java"
  "$root/sluice" build
}

# A task of a user's own, which an unknown name makes the command line list.
own_task() {
  local source=$root/java/sluice-eval/src/test/java/ai/example/ParityTask.java
  local services=$work/task/META-INF/services
  mkdir -p "$services"
  echo ai.example.ParityTask >"$services/ai.sluice.eval.EvalTask"
  javac -proc:none -nowarn -cp "$root/target/launcher/lib/*" -d "$work/task" "$source" || return 1
  SLUICE_CLASSPATH=$work/task "$root/sluice" eval parety
}

fixture=$root/tests/golden/fixtures/llama
mkdir "$work/a folder"
ln -s "$root/sluice" "$work/a folder/linked sluice"

check "builds" 0 "" "$root/sluice" build
check "two at once build once" 0 "^done" two_at_once
check "an unchanged tree is not built" 0 "^sluice [0-9]" unchanged_is_not_built
check "a changed source is" 0 "^building" a_change_is_noticed
check "through a link, elsewhere" 0 "^sluice [0-9]" \
  env -C "$work/a folder" "./linked sluice" --version
check "relative paths are the caller's" 0 "all .* checks agree" \
  env -C "$fixture/.." "$root/sluice" verify llama
check "without HOME" 0 "^sluice [0-9]" env -u HOME "$root/sluice" --version
check "a task of the user's own" 2 "task: parety \\(expected: parity, " own_task
check "an unknown command" 2 "^sluice: " "$root/sluice" no-such-command
check "an unknown test option" 1 "expected: nothing, or --all" "$root/sluice" test --fast
printf '%d passed, %d failed\n' "$passed" "$failures"
[ "$failures" = 0 ]
