/*
 * Whose code is at an address: the question that a signal handler asks of a program counter and of
 * each word on a stack.
 *
 * A map is made outside handlers, of all loaded objects, and never changes: a sorted array of
 * ranges, looked up without locks or calls. When objects were loaded or unloaded since
 * (gyre_text_map_stale), a new one is made and published; the old one is kept until the end, for a
 * handler may be reading it.
 */
#ifndef GYRE_LIB_BASE_TEXT_H
#define GYRE_LIB_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum text_kind {
    TEXT_NONE,    /* no code, or of no object that we know */
    TEXT_PROGRAM, /* the program's own, or of a library that was allowed */
    TEXT_GUARDED, /* in section gyre_no_preempt of these */
    TEXT_RUNTIME, /* gyre's */
    TEXT_ENTRY,   /* gyre's section gyre_entry: functions that call the program's, holding nothing;
                     and libgyre-preempt, which never calls it */
    TEXT_LIBRARY, /* all other objects; procedure linkage tables; the vdso */
};

struct text_range {
    uintptr_t low, high;
    enum text_kind kind;
};

struct text_map {
    uintptr_t low, high; /* of all ranges together: most words on a stack are outside */
    size_t count;
    const struct text_range *ranges; /* sorted, disjoint */
    /* Facts of the whole process, for the decision whether anything may be interrupted. */
    bool no_program; /* nothing is TEXT_PROGRAM: the program's file can't be read, or is not the one
                        that runs, or what was loaded since can't be watched */
    bool static_libc; /* the C library is part of the program */
    bool own_cpp;     /* so is the C++ run-time, whose thread-local state is then the program's */
    bool late_cpp;    /* there are a C++ run-time and an allowed library */
    bool own_malloc;  /* malloc is the program's own, or of an allowed library: its text has state
                         that must not be split, and nothing tells it from the rest */
    bool uses_locks;  /* an object other than the C library, gyre and the compilers' run-times
                         calls a lock function (base/lock_functions.h) */
    struct text_map *older; /* the user's */
};

/* Marks code of gyre that calls the program's functions and holds no lock of gyre's meanwhile, nor
 * left anything half done. All functions of gyre between the program's and the coroutine's entry
 * have to be marked, or the coroutine is not interrupted there. */
#if defined(__clang__)
#define CALLS_PROGRAM __attribute__((noinline, section("gyre_entry")))
#else
#define CALLS_PROGRAM __attribute__((noinline, noclone, section("gyre_entry")))
#endif

/*
 * Makes a map of what is loaded now. 0, -ENOMEM. An object whose file can't be read counts as a
 * library, for its gyre_no_preempt section is not known. Takes the dynamic linker's lock: not from
 * a handler, nor with a spinlock held.
 */
int gyre_text_map_make(struct text_map **map);
void gyre_text_map_free(struct text_map *map); /* and all that are older */

/* Whether objects were loaded, unloaded or allowed since. Two loads; where objects were loaded at
 * run time, a system call more, about a microsecond for each. Async-signal-safe but for errno. */
bool gyre_text_map_stale(const struct text_map *map);

/* Adds the object around address to those that count as the program. 0, -ENOMEM; -EINVAL: no object
 * is there, or it is a part of the system or gyre. The maps made before become stale. */
int gyre_text_allow(const void *address);

/* Async-signal-safe. */
static inline enum text_kind text_kind_at(const struct text_map *map, uintptr_t address)
{
    size_t low = 0, high = map->count;

    if (address < map->low || address >= map->high)
        return TEXT_NONE;
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (address >= map->ranges[middle].high)
            low = middle + 1;
        else if (address < map->ranges[middle].low)
            high = middle;
        else
            return map->ranges[middle].kind;
    }
    return TEXT_NONE;
}

#endif
