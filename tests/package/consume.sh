#!/usr/bin/env bash
# usage: consume.sh SOURCE WORK
# Installs a release build of SOURCE under WORK/prefix, then builds and runs programs that use it by
# pkg-config (shared and static, C and C++), by CMake and as a meson subproject, and looks at what
# the installed library exports. Reports in TAP. WORK is kept: a second run builds what changed.
set -u

source=$1
work=$2
here=$source/tests/package
prefix=$work/prefix
profile=$source/docs/seccomp/gyre.json
cc=${CC:-cc}
strict=(-Wall -Wextra -Wpedantic -Werror)
number=0
# functions of the C library that ours stand before, so that children don't inherit a worker's CPU
interposed=(popen posix_spawn posix_spawnp system)

# report NAME STATUS: 77 is a skip
report() {
    number=$((number + 1))
    case $2 in
    0) echo "ok $number - $1" ;;
    77) echo "ok $number - $1 # SKIP ${3:-io_uring is forbidden here}" ;;
    *) echo "not ok $number - $1" ;;
    esac
}

# check NAME COMMAND...: what it prints goes to standard error
check() {
    local name=$1
    shift
    "$@" >&2
    report "$name" $?
}

install_release() {
    rm -rf "$prefix" # what is no longer installed must not be found
    if [ ! -f "$work/release/build.ninja" ]; then
        meson setup "$work/release" "$source" --buildtype=release --prefix="$prefix" \
            --libdir=lib -Dtests=disabled -Dexamples=false -Dperf=false || return 1
    fi
    meson install -C "$work/release" --quiet
}

by_pkg_config() {
    local compiler=$1 consumer=$2 program
    program=$work/$(basename "$consumer").shared
    # shellcheck disable=SC2046
    "$compiler" "${strict[@]}" "$here/$consumer" -o "$program" \
        $(pkg-config --cflags --libs gyre) || return 1
    LD_LIBRARY_PATH=$prefix/lib "$program"
}

# static NAME [ARGUMENT]: no shared library at all
static() {
    local program=$work/$1.static
    # shellcheck disable=SC2046
    "$cc" "${strict[@]}" -static "$here/$1" -o "$program" \
        $(pkg-config --static --cflags --libs gyre) || return 1
    "$program" "${@:2}"
}

# archive NAME: libgyre.a in a program that is linked dynamically otherwise
archive() {
    local program=$work/$1.archive
    # shellcheck disable=SC2046
    "$cc" "${strict[@]}" "$here/$1" -o "$program" \
        $(pkg-config --static --cflags --libs gyre | sed 's/-lgyre\>/-l:libgyre.a/') || return 1
    "$program"
}

readme_compiles() {
    local program
    rm -f "$work"/readme*.c
    awk -v to="$work/readme" '/^```c$/ { inside = 1; n++; next } /^```$/ { inside = 0 }
        inside { print > (to n ".c") }' "$source/README.md"
    [ -s "$work/readme1.c" ] || return 1
    for program in "$work"/readme*.c; do
        # shellcheck disable=SC2046
        "$cc" "${strict[@]}" "$program" -o "${program%.c}" \
            $(pkg-config --cflags --libs gyre) || return 1
    done
}

passes_stack_probing_on() {
    pkg-config --cflags gyre | grep -qe -fstack-clash-protection
}

under_profile() {
    LD_LIBRARY_PATH=$prefix/lib "$here/under-profile.py" "$@"
}

# The profile lets through all that gyre's calls need, and the check notices what is missing.
calls_under_profile() (
    cd "$work" || return
    by_pkg_config "$cc" calls.c && under_profile "$profile" "$work/calls.c.shared" || return
    ! under_profile --without inotify_init1 "$profile" "$work/calls.c.shared"
)

profile_matters() {
    local output
    output=$(under_profile --without io_uring_setup "$profile" "$work/consumer.c.shared" 2>&1)
    [ $? -eq 77 ] && grep -q 'docs/containers.md' <<<"$output"
}

demo_gives_the_remedy() {
    local output status
    command -v wrk >/dev/null || return 77
    output=$("$here/under-profile.py" --without io_uring_setup "$profile" \
        "$source/scripts/demo" 2>&1)
    status=$?
    printf '%s\n' "$output"
    [ $status -eq 1 ] && grep -q '^gyre: cannot start:.*io_uring' <<<"$output"
}

by_cmake() {
    cmake -S "$here/cmake" -B "$work/cmake" >/dev/null && cmake --build "$work/cmake" || return 1
    LD_LIBRARY_PATH=$prefix/lib "$work/cmake/consumer_c" &&
        LD_LIBRARY_PATH=$prefix/lib "$work/cmake/consumer_cpp" &&
        LD_LIBRARY_PATH=$prefix/lib "$work/cmake/locks"
}

as_subproject() {
    local kind=$1 project=$work/subproject
    mkdir -p "$project/subprojects"
    cp "$here/subproject/meson.build" "$here/consumer.c" "$here/locks.c" "$project"
    ln -sfn "$source" "$project/subprojects/gyre"
    if [ ! -f "$project/$kind/build.ninja" ]; then
        env -u PKG_CONFIG_PATH meson setup "$project/$kind" "$project" \
            -Ddefault_library="$kind" --force-fallback-for=gyre || return 1
    fi
    ninja -C "$project/$kind" consumer locks && "$project/$kind/consumer" &&
        "$project/$kind/locks"
}

exports_what_headers_declare() {
    diff <({ "$source/scripts/symbols.py" "$prefix/include" && printf '%s\n' "${interposed[@]}"; } |
        sort) \
        <("$source/scripts/symbols.py" "$prefix/lib/libgyre.so")
}

# The static library's symbols share a name space with the program's: weak ones give way to it.
static_symbols_are_prefixed() {
    nm -g --defined-only "$prefix/lib/libgyre.a" |
        awk -v interposed=" ${interposed[*]} " '
            NF == 3 && $2 != "W" && $3 !~ /^gyre_/ && !index(interposed, " " $3 " ") { print; bad = 1 }
            END { exit bad }'
}

# So that it can be told from the program's.
static_code_is_apart() {
    local sections
    sections=$(readelf -SW "$prefix/lib/libgyre.a")
    grep -q ' gyre_text ' <<<"$sections" && ! grep -q ' \.text' <<<"$sections"
}

# A program of functions that return by thunks of its own.
with_return_thunks() {
    local program=$work/$1.thunks
    # shellcheck disable=SC2046
    "$cc" "${strict[@]}" -mfunction-return=thunk -fcf-protection=none "$here/$1" -o "$program" \
        $(pkg-config --static --cflags --libs gyre | sed 's/-lgyre\>/-l:libgyre.a/') || return 1
    "$program"
}

has_its_soname() {
    readelf -dW "$prefix/lib/$1.so" | grep -q "SONAME.*\[$1.so.0\]"
}

# What is found before the C library, by libraries too, has no version.
preempt_exports_its_map() {
    diff <(sed -n 's/^ *\(\w*\);$/\1/p' "$source/lib/preempt/preempt.map") \
        <(nm -D --defined-only "$prefix/lib/libgyre-preempt.so" | awk '{ print $3 }' | sort)
}

# by_preempt_pkg_config CONSUMER FLAG...: links libgyre-preempt too, and keeps it although the linker
# drops what is not called
by_preempt_pkg_config() {
    local consumer=$1 program
    program=$work/$consumer.preempt
    # shellcheck disable=SC2046
    "$cc" "${strict[@]}" -Wl,--as-needed "${@:2}" "$here/$consumer" -o "$program" \
        $(pkg-config --cflags --libs gyre-preempt) || return 1
    readelf -dW "$program" | grep -q 'NEEDED.*\[libgyre-preempt.so.0\]' || return 1
    LD_LIBRARY_PATH=$prefix/lib "$program"
}

preloaded() {
    by_pkg_config "$cc" locks.c && return 1 # it must be missed without
    LD_PRELOAD=$prefix/lib/libgyre-preempt.so.0 LD_LIBRARY_PATH=$prefix/lib "$work/locks.c.shared"
}

# An assembly file without its note makes every stack of the program executable.
stack_is_not_executable() {
    ! readelf -lW "$prefix/lib/$1.so" | grep -q 'GNU_STACK.*E ' &&
        ! readelf -dW "$prefix/lib/$1.so" | grep -q TEXTREL
}

mkdir -p "$work"
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
echo 'TAP version 13'
check 'installs a release build' install_release
check 'exports what the headers declare' exports_what_headers_declare
check 'static symbols are prefixed' static_symbols_are_prefixed
check "the static library's code is in sections of its own" static_code_is_apart
check 'has its soname' has_its_soname libgyre
check 'needs no executable stack, has no text relocations' stack_is_not_executable libgyre
check 'libgyre-preempt exports its map, without versions' preempt_exports_its_map
check 'libgyre-preempt has its soname' has_its_soname libgyre-preempt
check 'gyre.pc passes stack probing on' passes_stack_probing_on
check 'C program by pkg-config' by_pkg_config "$cc" consumer.c
check 'C program by pkg-config, static library' archive consumer.c
if [ "$(uname -m)" = x86_64 ]; then
    check 'C program with return thunks of its own' with_return_thunks consumer.c
fi
check 'program with gyre-preempt, which calls nothing of it' by_preempt_pkg_config consumer.c
check 'program with gyre-preempt, which locks' by_preempt_pkg_config locks.c
check 'program with gyre-preempt, position-dependent' by_preempt_pkg_config locks.c -no-pie
check 'gyre-preempt by LD_PRELOAD' preloaded
check 'C program by pkg-config, all static' static consumer.c
check 'children see the original CPUs' by_pkg_config "$cc" children.c
check 'children see the original CPUs, static library' archive children.c
check 'children of an all-static program, or ENOSYS' static children.c static
check "the README's programs compile" readme_compiles
check 'runs under the shipped seccomp profile' under_profile "$profile" "$work/consumer.c.shared"
check 'files, names, programs, signals: all under that profile' calls_under_profile
check 'a profile without io_uring gives the remedy' profile_matters
check 'where io_uring is forbidden, scripts/demo gives the remedy' demo_gives_the_remedy
if command -v g++ >/dev/null; then
    check 'C++ program by pkg-config' by_pkg_config g++ consumer.cpp
else
    report 'C++ program by pkg-config' 77 'g++ is missing'
fi
if command -v cmake >/dev/null; then
    check 'C and C++ programs by CMake' by_cmake
else
    report 'C and C++ programs by CMake' 77 'cmake is missing'
fi
check 'meson subproject, shared' as_subproject shared
check 'meson subproject, static' as_subproject static
echo "1..$number"
