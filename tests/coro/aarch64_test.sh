#!/bin/sh
# aarch64_test.sh SOURCE_ROOT WORK_DIR: the cases of the switch and of preemption for aarch64, by a cross
# compiler and an emulator: asm with and without BTI, and ucontext. 77 where either tool is missing.
set -eu
root=$1
work=$2
cc=aarch64-linux-gnu-gcc
command -v $cc >/dev/null && command -v qemu-aarch64 >/dev/null || exit 77
mkdir -p "$work"

# build NAME FLAGS... SOURCES...
build() {
    name=$1
    shift
    echo "== $name"
    # A static program needs no aarch64 libraries; dladdr's warning about that doesn't concern it.
    $cc -std=gnu11 -D_GNU_SOURCE -DPLAIN_CASES -g -static -pthread -I"$root/include" -I"$root/lib" \
        "$@" "$root/lib/coro/switch.c" "$root/lib/base/panic.c" "$root/lib/base/message.c" -lm \
        -o "$work/$name" 2>"$work/$name.log" || { cat "$work/$name.log"; exit 1; }
}

try() {
    build "$@" "$root/tests/coro/switch_test.c"
    timeout 100 qemu-aarch64 "$work/$name"
}

try_preempt() {
    build "$@" "$root/tests/coro/preempt_test.c" "$root/tests/coro/preempt_canary.c" \
        "$root/tests/coro/preempt_canary_aarch64.S" "$root/lib/coro/preempt_aarch64.c" \
        "$root/lib/coro/preempt_aarch64.S" "$root/lib/coro/switch_aarch64.S"
    # Without SVE, with short vectors, and with some whose state needs an extra record.
    for cpu in cortex-a57 max max,sve-default-vector-length=256; do
        echo "== $name, $cpu"
        timeout 100 qemu-aarch64 -cpu "$cpu" "$work/$name" 100
    done
}

try asm -O2 "$root/lib/coro/switch_aarch64.S"
try asm_bti -O1 -mbranch-protection=standard "$root/lib/coro/switch_aarch64.S"
try ucontext -O2 -DGYRE_SWITCH_UCONTEXT "$root/lib/coro/switch_ucontext.c"

try_preempt preempt -O2
try_preempt preempt_bti -O1 -mbranch-protection=standard
