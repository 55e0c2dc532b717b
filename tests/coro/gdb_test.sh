#!/bin/sh
# gdb_test.sh PROGRAM SCRIPT: drives gdb, which exits 0 or 1; 77 without a gdb that can be scripted.
set -u
gdb -nx -batch -ex 'python print("scripted")' 2>/dev/null | grep -q scripted || exit 77
# Where ptrace is forbidden, as in some containers, there is nothing to see.
gdb -nx -batch -ex run -ex quit /bin/true 2>&1 | grep -q 'exited normally' || exit 77
exec timeout 60 gdb -nx -batch -x "$2" "$1"
