#!/bin/sh
# builds_test.sh SOURCE LIBRARY DIRECTORY: hogs, built in each way that changes where code, frames
# and the C library are. TAP. SOURCE: the project; LIBRARY: libgyre.so, with libgyre.a beside it.
set -u
source=$1 library=$(cd "$(dirname "$2")" && pwd) directory=$3
mkdir -p "$directory" && cd "$directory" || exit 1
flags="-std=gnu11 -D_GNU_SOURCE -fstack-clash-protection -I$source/include -pthread"
shared="$library/libgyre.so -Wl,-rpath,$library"
static="$library/libgyre.a -luring"
count=0 failed=0

# build NAME MODE LIBRARIES COMPILER FLAGS...
build() {
    name=$1 mode=$2 libraries=$3
    shift 3
    count=$((count + 1))
    command -v "$1" >/dev/null || {
        echo "ok $count - $name # SKIP no $1"
        return
    }
    # shellcheck disable=SC2086
    if ! "$@" $flags "$source/tests/preempt/built.c" $libraries -o "built$count" 2>"log$count"; then
        case $* in # other linkers, plugins and static libraries may be missing
        *-fuse-ld=* | *-flto* | *-static*)
            echo "ok $count - $name # SKIP does not build: $(tail -n 1 "log$count")"
            ;;
        *)
            echo "not ok $count - $name: does not build: $(cat "log$count")"
            failed=1
            ;;
        esac
    elif timeout 60 "./built$count" "$mode" 2>"log$count"; then
        echo "ok $count - $name"
    else
        echo "not ok $count - $name: $? $(cat "log$count")"
        failed=1
    fi
}

for compiler in gcc clang; do
    for options in "-O0" "-O3 -fomit-frame-pointer" "-O2 -fno-pie -no-pie"; do
        # shellcheck disable=SC2086
        build "$compiler shared $options" asynchronous "$shared" $compiler $options
    done
    for options in "-O0" "-O3 -fomit-frame-pointer" "-O2 -fno-pie -no-pie" "-O2 -flto" \
        "-O2 -fno-asynchronous-unwind-tables -fno-unwind-tables -fomit-frame-pointer" \
        "-Os -ffunction-sections -Wl,--gc-sections" "-O2 -fcf-protection=full" \
        "-O2 -Wl,-z,noseparate-code" "-O2 -Wl,-z,now,-z,relro" "-O2 -fPIE -pie -s" \
        "-O2 -fuse-ld=gold"; do
        # shellcheck disable=SC2086
        build "$compiler static $options" asynchronous "$static" $compiler $options
    done
    build "$compiler -static" "cooperative: the C library" "$static" $compiler -O2 -static
    build "$compiler -static-pie" "cooperative: the C library" "$static" $compiler -O2 -static-pie
    build "$compiler own malloc, shared" "cooperative: malloc" "$shared" $compiler -O2 \
        -fno-builtin -DOWN_MALLOC
    build "$compiler own malloc, static" "cooperative: malloc" "$static" $compiler -O2 \
        -fno-builtin -DOWN_MALLOC
done
echo "1..$count"
exit $failed
