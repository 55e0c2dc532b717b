#!/bin/sh
# aarch64_test.sh SOURCE_ROOT WORK_DIR: the cases of the switch for aarch64, by a cross compiler and an
# emulator: asm with and without BTI, and ucontext. 77 where either tool is missing.
set -eu
root=$1
work=$2
cc=aarch64-linux-gnu-gcc
command -v $cc >/dev/null && command -v qemu-aarch64 >/dev/null || exit 77
mkdir -p "$work"

# try NAME FLAGS... SOURCES...
try() {
    name=$1
    shift
    echo "== $name"
    # A static program needs no aarch64 libraries; dladdr's warning about that doesn't concern it.
    $cc -std=gnu11 -D_GNU_SOURCE -DPLAIN_CASES -g -static -pthread -I"$root/include" -I"$root/lib" \
        "$@" "$root/tests/coro/switch_test.c" "$root/lib/coro/switch.c" "$root/lib/base/panic.c" \
        "$root/lib/base/message.c" -lm -o "$work/$name" 2>"$work/$name.log" ||
        { cat "$work/$name.log"; exit 1; }
    timeout 100 qemu-aarch64 "$work/$name"
}

try asm -O2 "$root/lib/coro/switch_aarch64.S"
try asm_bti -O1 -mbranch-protection=standard "$root/lib/coro/switch_aarch64.S"
try ucontext -O2 -DGYRE_SWITCH_UCONTEXT "$root/lib/coro/switch_ucontext.c"
