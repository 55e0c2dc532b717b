#!/bin/sh
# perf_test.sh PROGRAM: perf samples a program that is interrupted all the time, with call graphs
# by frame pointers; 77 where it may not. The program ends well, and its computing is seen in
# coroutines, under their entry.
set -u
command -v perf >/dev/null || exit 77
directory=$(mktemp -d) || exit 1
trap 'rm -rf "$directory"' EXIT
perf record -q -e task-clock -o "$directory/probe" true >/dev/null 2>&1 || exit 77
timeout 60 perf record -q -e task-clock -F 1000 --call-graph fp -o "$directory/data" "$1" 1 \
    >"$directory/output" 2>&1
status=$?
cat "$directory/output"
[ $status -eq 77 ] && exit 77
[ $status -eq 0 ] || { echo "ended with $status"; exit 1; }
# One sample a paragraph: its stack, innermost first.
timeout 60 perf script -i "$directory/data" -F ip,sym 2>/dev/null | awk '
    BEGIN { RS = "" }
    / storm_work/ { computing++; if (/ gyre_coro_entry/) complete++ }
    { all++ }
    END {
        printf "%d samples, %d while it computes, %d of them up to the entry\n", all, computing,
            complete
        exit !(all > 0 && complete >= computing * 0.9)
    }'
