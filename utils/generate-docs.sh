#!/usr/bin/env bash
# Generates docs/reference (one page of ops per dialect, one of passes) from the TableGen files.
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Usage: utils/generate-docs.sh [--check]
#   --check  writes nothing; exit 1 if a committed page is not current
set -euo pipefail
cd "$(dirname "$0")/.."
llvm=${LLVM_ROOT:-/usr/lib/llvm-19}
tblgen() { "$llvm/bin/mlir-tblgen" -I . -I "$llvm/include" "$@"; }

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
for folder in dialects/*/; do
  dialect=$(basename "$folder")
  # All of a dialect's files on one page.
  printf 'include "%s"\n' "$folder"*Ops.td >"$out/$dialect.td"
  tblgen -gen-dialect-doc -dialect="$dialect" "$out/$dialect.td" >"$out/$dialect.md"
  rm "$out/$dialect.td"
done
{
  echo "# Passes"
  echo
  echo "Every pass runs alone in \`moire-opt\`. Written by \`utils/generate-docs.sh\`."
  for td in dialects/*/*Passes.td include/moire/*/Passes.td; do
    echo
    echo "## $(dirname "$td" | sed 's|include/moire|lib|')"
    echo
    tblgen -gen-pass-doc "$td" | sed 's/^\(<!--.*\)$//; s/^###/####/'
  done
} >"$out/passes.md"

if [ "${1:-}" = --check ]; then
  diff -ru docs/reference "$out" || {
    echo "error: docs/reference is not current; run utils/generate-docs.sh" >&2
    exit 1
  }
  echo "docs/reference is current"
  exit 0
fi
mkdir -p docs/reference
rm -f docs/reference/*.md
cp "$out"/*.md docs/reference/
echo "wrote docs/reference: $(ls docs/reference | tr '\n' ' ')"
