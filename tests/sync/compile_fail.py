"""Programs that must not compile, each beside the one that must, by gcc and clang, as C and as C++.

A pair differs in one expression. The wrong one must be refused where that expression stands: HARD
with every warning off, so that the types alone do it; WARNED where warnings are errors, for pointers
to another type and ignored results, which C takes with a warning.

usage: compile_fail.py SOURCE
"""

import os
import shutil
import subprocess
import sys
import tempfile

HARD, WARNED = ["-w"], ["-Wall", "-Wextra", "-Werror"]
C, CPP = ("c", "-std=gnu11"), ("c++", "-std=gnu++17")

PROGRAM = """
#include <gyre.h>
#include <stdlib.h>

struct point {{ int x, y; }};
struct name {{ char text[8]; }};

GYRE_CHAN_TYPE(ints, int);
GYRE_CHAN_TYPE(longs, long);
GYRE_CHAN_TYPE(points, struct point);

int use(ints channel, longs other, points places, gyre_channel plain, struct gyre_case *many,
        int n, long wide, struct point point, struct name name);
int use(ints channel, longs other, points places, gyre_channel plain, struct gyre_case *many,
        int n, long wide, struct point point, struct name name)
{{
    struct gyre_case cases[] = {{ints_case_recv(channel.receiver, &n), gyre_case_default()}};
    static gyre_mutex mutex = GYRE_MUTEX_INIT;
    static gyre_rwmutex shared = GYRE_RWMUTEX_INIT;
    static gyre_semaphore semaphore = GYRE_SEMAPHORE_INIT(3);

    (void)other, (void)places, (void)plain, (void)many, (void)wide, (void)point, (void)name;
    (void)mutex, (void)shared, (void)semaphore, (void)cases;
{statements}
    return n;
}}
"""

# what is wrong; the wrong statement; the right one; how it is refused
PAIRS = [
    ("sending through a receiver", "ints_send(channel.receiver, 1)",
     "ints_send(channel.sender, 1)", HARD),
    ("receiving through a sender", "ints_recv(channel.sender, &n)",
     "ints_recv(channel.receiver, &n)", HARD),
    ("trying to send through a receiver", "ints_try_send(channel.receiver, 1)",
     "ints_try_send(channel.sender, 1)", HARD),
    ("trying to receive through a sender", "ints_try_recv(channel.sender, &n)",
     "ints_try_recv(channel.receiver, &n)", HARD),
    ("closing a receiver", "ints_close(channel.receiver)", "ints_close(channel.sender)", HARD),
    ("closing a receiver with an error", "ints_close_error(channel.receiver, -1)",
     "ints_close_error(channel.sender, -1)", HARD),
    ("releasing a receiver as a sender", "ints_release_sender(channel.receiver)",
     "ints_release_receiver(channel.receiver)", HARD),
    ("a receiver kept as a sender", "ints_sender kept = channel.receiver; (void)kept",
     "ints_sender kept = channel.sender; (void)kept", HARD),
    ("both ends where one is asked for", "ints_send(channel, 1)",
     "ints_send(channel.sender, 1)", HARD),
    ("another type's sender", "ints_send(other.sender, 1)", "ints_send(channel.sender, 1)", HARD),
    ("another type's receiver", "ints_recv(other.receiver, &n)",
     "ints_recv(channel.receiver, &n)", HARD),
    ("an untyped sender", "ints_send(plain.sender, 1)", "ints_send(channel.sender, 1)", HARD),
    ("a typed sender as an untyped one", "gyre_chan_send(channel.sender, &n)",
     "gyre_chan_send(plain.sender, &n)", HARD),
    ("sending through an untyped receiver", "gyre_chan_send(plain.receiver, &n)",
     "gyre_chan_send(plain.sender, &n)", HARD),
    ("receiving through an untyped sender", "gyre_chan_recv(plain.sender, &n)",
     "gyre_chan_recv(plain.receiver, &n)", HARD),
    ("closing an untyped receiver", "gyre_chan_close(plain.receiver)",
     "gyre_chan_close(plain.sender)", HARD),
    ("sending another structure", "points_send(places.sender, name)",
     "points_send(places.sender, point)", HARD),
    ("sending a pointer for a number", "ints_send(channel.sender, &n)",
     "ints_send(channel.sender, n)", WARNED),
    ("receiving into another type", "ints_recv(channel.receiver, &wide)",
     "ints_recv(channel.receiver, &n)", WARNED),
    ("receiving into a value", "ints_recv(channel.receiver, n)",
     "ints_recv(channel.receiver, &n)", WARNED),
    ("a receive case on a sender", "cases[0] = ints_case_recv(channel.sender, &n)",
     "cases[0] = ints_case_recv(channel.receiver, &n)", HARD),
    ("a send case on a receiver", "cases[0] = ints_case_send(channel.receiver, &n)",
     "cases[0] = ints_case_send(channel.sender, &n)", HARD),
    ("a receive case into another type", "cases[0] = ints_case_recv(channel.receiver, &wide)",
     "cases[0] = ints_case_recv(channel.receiver, &n)", WARNED),
    ("a send case of another type", "cases[0] = ints_case_send(channel.sender, &wide)",
     "cases[0] = ints_case_send(channel.sender, &n)", WARNED),
    ("a case on another type's channel", "cases[0] = ints_case_recv(other.receiver, &n)",
     "cases[0] = ints_case_recv(channel.receiver, &n)", HARD),
    ("a select of a pointer", "n = gyre_select(many)", "n = gyre_select(cases)", HARD),
    ("an ignored cancellable lock", "gyre_mutex_lock_cancellable(&mutex)",
     "n = gyre_mutex_lock_cancellable(&mutex)", WARNED),
    ("an ignored try_lock", "gyre_mutex_try_lock(&mutex)",
     "n = gyre_mutex_try_lock(&mutex)", WARNED),
    ("an ignored cancellable read lock", "gyre_rwmutex_rlock_cancellable(&shared)",
     "n = gyre_rwmutex_rlock_cancellable(&shared)", WARNED),
    ("an ignored cancellable write lock", "gyre_rwmutex_lock_cancellable(&shared)",
     "n = gyre_rwmutex_lock_cancellable(&shared)", WARNED),
    ("an ignored acquire", "gyre_semaphore_acquire(&semaphore, 1)",
     "n = gyre_semaphore_acquire(&semaphore, 1)", WARNED),
]


def compiled(compiler, language, flags, statements, folder):
    """The compiler's status and messages, in which statement N stands in line N of `pair`."""
    path = os.path.join(folder, "pair." + ("c" if language is C else "cc"))
    lines = [f'#line {number} "pair"\n    {{ {statement}; }}'
             for number, statement in statements.items()]
    with open(path, "w", encoding="utf-8") as file:
        file.write(PROGRAM.format(statements="\n".join(lines)))
    # not -fsyntax-only: gcc sees an ignored result later than that
    done = subprocess.run([compiler, "-x", *language, *flags, "-S", "-o", os.devnull, "-I",
                           os.path.join(sys.argv[1], "include"), path],
                          capture_output=True, text=True, check=False, timeout=60,
                          env={**os.environ, "LC_ALL": "C"})
    return done.returncode, done.stderr


def complaint(compiler, language, number, folder):
    """What is amiss with the wrong half of a pair; None if all is well."""
    _, wrong, _, flags = PAIRS[number - 1]
    status, messages = compiled(compiler, language, flags, {number: wrong}, folder)
    if status == 0:
        return "the wrong one compiles"
    if f"pair:{number}:" not in messages:
        return f"refused, but elsewhere: {messages}"
    return None


def main():
    compilers = [(name, language)
                 for name, language in [("gcc", C), ("clang", C), ("g++", CPP), ("clang++", CPP)]
                 if shutil.which(name)]
    failed = 0
    print(f"1..{len(PAIRS) + 1}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        amiss = {0: []}
        for number in range(1, len(PAIRS) + 1):
            amiss[number] = [f"{compiler}: {text}" for compiler, language in compilers
                             if (text := complaint(compiler, language, number, folder))]
        right = {number: pair[2] for number, pair in enumerate(PAIRS, 1)}
        for compiler, language in compilers:
            status, messages = compiled(compiler, language, WARNED, right, folder)
            if status != 0:
                amiss[0].append(f"{compiler}: {messages}")
    for number in sorted(amiss):
        what = PAIRS[number - 1][0] if number else "the right ones compile"
        for line in "\n".join(amiss[number]).splitlines():
            print("#", line)
        failed += bool(amiss[number])
        print(f"{'not ok' if amiss[number] else 'ok'} {number + 1} {what}", flush=True)
    sys.exit(1 if failed else 0)


main()
