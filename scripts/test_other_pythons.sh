#!/usr/bin/env bash
# Runs the fast tests on every other supported Python of this machine: scripts/test_other_pythons.sh [VERSION...]
# Interpreters are looked for on PATH and among those of pyenv. With none, it says so. Ends with a status other than 0 if tests fail
# or an interpreter that was asked for by its version is missing.
set -u
cd "$(dirname "$0")/.." || exit 1

# find_python VERSION: print the path of an interpreter that runs and is of this version.
find_python() {
  local candidate
  for candidate in "$(command -v "python$1")" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python; do
    [ -n "$candidate" ] || continue
    if [ "$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$1" ]; then
      echo "$candidate"
      return
    fi
  done
}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failed=0
tested=()
for version in "${@:-3.12 3.13 3.14}"; do
  for each in $version; do
    python=$(find_python "$each")
    if [ -z "$python" ]; then
      printf 'Python %s: not on this machine\n' "$each"
      (($# == 0)) || failed=1
      continue
    fi
    printf 'Python %s: %s\n' "$each" "$python"
    "$python" -m venv "$folder/$each" &&
      "$folder/$each/bin/python" -m pip install --quiet --constraint constraints.txt --upgrade pip &&
      "$folder/$each/bin/python" -m pip install --quiet --constraint constraints.txt --editable '.[demo]' --group test &&
      "$folder/$each/bin/python" -m pytest -q -p no:cacheprovider -n auto -m "not slow" tests &&
      tested+=("$each") || failed=1
  done
done
printf 'The fast tests pass on: %s\n' "${tested[*]:-no other Python}"
exit "$failed"
