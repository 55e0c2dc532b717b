#!/usr/bin/env bash
# Has spin check a model in full, and then each of its mutations, which it must refute: a model
# that cannot tell them apart proves nothing. The mutations are those that the head of the model
# names; its variants must hold as it does. A search that does not fit its bounds is a failure, not
# a pass.
#
# usage: run.sh MODEL.pml WORK-DIRECTORY [MUTATION...]
model=$1
work=$2
shift 2
seconds=60 # of processor time, for each search: the machine may be shared
megabytes=2048
depth=2000000

for tool in spin gcc; do
    if ! command -v "$tool" >/dev/null; then
        echo "$tool is not installed"
        exit 77
    fi
done

# search MUTATION: leaves spin's report in ./pan.out
search() {
    rm -f pan pan.c ./*.trail
    # Written into the model's own copy: spin hands paths and macros to the preprocessor unquoted.
    {
        [ "$1" = none ] || echo "#define MUTATION $1"
        cat model.in
    } >model.pml
    if ! spin -a model.pml >spin.out 2>&1 || ! [ -s pan.c ]; then
        cat spin.out
        return 1
    fi
    gcc -O1 -w -DSAFETY -DCOLLAPSE "-DMEMLIM=$megabytes" -o pan pan.c || return 1
    (ulimit -t "$seconds" && exec ./pan "-m$depth") >pan.out 2>&1 || echo "ended early" >>pan.out
}

# What pan found: proved, refuted, or that it proved nothing.
verdict() {
    if grep -q 'invalid array index' pan.out; then
        echo undecided # the model's own fault
    elif grep -q '^pan:.*\(assertion violated\|invalid end state\)' pan.out; then
        echo refuted
    elif grep -q 'errors: 0$' pan.out &&
        ! grep -q 'max search depth too small\|out of memory\|ended early\|not completed' pan.out; then
        echo proved
    else
        echo undecided
    fi
}

row() {
    printf '%-16s %-24s %10s %7s  %s\n' "$@"
}

name=$(basename "$model" .pml)
directory=$(cd "$(dirname "$model")" && pwd) || exit 99
mkdir -p "$work/$name" && cd "$work/$name" || exit 99
cp "$directory/$name.pml" model.in && cp "$directory"/*.h . || exit 99
mutations=("$@")
[ $# -ne 0 ] ||
    mapfile -t mutations < <(echo none && sed -nE 's/^ \* (variant|mutation) ([A-Z_]+):.*/\2/p' model.in)

failed=0
row model mutation states seconds verdict
for mutation in "${mutations[@]}"; do
    expected=proved
    if grep -q "^ \* mutation $mutation:" model.in; then
        expected=refuted
    fi
    search "$mutation" || exit 1
    found=$(verdict)
    states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' pan.out)
    elapsed=$(sed -n 's/^pan: elapsed time \([0-9.]*\) seconds/\1/p' pan.out)
    if [ "$found" = "$expected" ]; then
        row "$name" "$mutation" "$states" "$elapsed" "$found"
        continue
    fi
    failed=1
    row "$name" "$mutation" "$states" "$elapsed" "$found: FAILED, should be $expected"
    grep '^pan:\|too small\|ended early' pan.out
    if [ "$found" = refuted ]; then
        ./pan -r -n 2>&1 | tail -n 60
    fi
done
exit "$failed"
