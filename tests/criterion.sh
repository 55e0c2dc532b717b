#!/bin/sh
# Runs a Criterion program and prints its TAP report alone on standard output, so that meson counts
# test cases, skipped ones included, and not programs. What the tests print goes to standard error.
report=$(mktemp) || exit 99
trap 'rm -f "$report"' EXIT
"$@" --tap="$report" >&2
status=$?
cat "$report"
echo
exit $status
