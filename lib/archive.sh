#!/bin/sh
# archive.sh READELF OBJCOPY AR OUTPUT OBJECT...: a static library whose code is all in section gyre_text
# (gyre_entry apart). The linker tells the bounds of sections with such names: so the library finds its
# own code in the program that it is linked into. No compiler has an option for this.
set -eu
readelf=$1 objcopy=$2 ar=$3 output=$4
shift 4
work=$output.p
rm -rf "$work" "$output"
mkdir -p "$work"
renames=$("$readelf" -SW "$@" | grep -o ' \.text[^ ]*' | sort -u |
    sed 's/ \(.*\)/--rename-section \1=gyre_text/')
for object in "$@"; do
    # shellcheck disable=SC2086 # one word each
    "$objcopy" $renames "$object" "$work/${object##*/}"
done
"$ar" csrD "$output" "$work"/*
rm -rf "$work"
