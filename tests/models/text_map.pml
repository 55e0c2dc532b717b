/*
 * The map of whose code is where: read by signal handlers, replaced by the watchdog
 * (lib/sched/gate.c, preempt_mode.c), on x86-TSO.
 *
 * Two workers' handlers read it a few times. The watchdog publishes a new one a few times and
 * then frees all older ones that nobody has marked; the memory of what it freed is used again.
 *
 * Proved: no handler reads a map that was freed.
 *
 * mutation NO_SECOND_LOOK: a handler reads what it has marked, current or not
 * mutation MARKED_PLAINLY: it looks again before others can see its mark
 * mutation MARKED_AFTER_LOOK: it marks after it has looked again
 * mutation UNMARKED_EARLY: the mark is gone before the last look
 * mutation PUBLISHED_PLAINLY: marks are looked at before others can see the new map
 * mutation FREED_BEFORE_PUBLISHED: marks are looked at before the new map is there
 * mutation ONE_MARK_LOOKED_AT: only one worker's mark is looked at
 */
#define NO_SECOND_LOOK         1
#define MARKED_PLAINLY         2
#define MARKED_AFTER_LOOK      3
#define UNMARKED_EARLY         4
#define PUBLISHED_PLAINLY      5
#define FREED_BEFORE_PUBLISHED 6
#define ONE_MARK_LOOKED_AT     7
#ifndef MUTATION
#define MUTATION 0
#endif

#define READERS      2
#define READS        2 /* of the first; the other has one fewer */
#define PUBLICATIONS 3
#define MAPS         4 /* 1 to MAPS; 0: none */

#define WRITER     READERS
#define THREADS    3
#define BUFFERED   3
#define ADDRESSES  3
#define READING(r) (r)
#define TEXT       2
#include "tso.h"

bool live[MAPS + 1];

proctype reader(byte self)
{
    byte reads, map, again;

    do
    :: reads + self < READS ->
        reads++;
        load(self, TEXT, map);
        do
        :: true ->
#if MUTATION == MARKED_AFTER_LOOK
            load(self, TEXT, again);
            exchange(self, READING(self), map);
#else
#if MUTATION == MARKED_PLAINLY
            store(self, READING(self), map);
#else
            exchange(self, READING(self), map);
#endif
            load(self, TEXT, again);
#endif
#if MUTATION == NO_SECOND_LOOK
            again = map;
#endif
            if
            :: again == map -> break
            :: else -> map = again
            fi
        od;
        assert(live[map]);
#if MUTATION == UNMARKED_EARLY
        store(self, READING(self), 0);
        assert(live[map]);
#else
        assert(live[map]);
        store(self, READING(self), 0);
#endif
        map = 0;
        again = 0
    :: else -> break
    od
}

/* Frees all but the newest that nobody reads. */
inline free_older()
{
    at = 1;
    do
    :: at <= MAPS ->
        if
        :: live[at] && at != newest ->
            load(WRITER, READING(0), mark);
            read = (mark == at);
#if MUTATION != ONE_MARK_LOOKED_AT
            load(WRITER, READING(1), mark);
            read = read || mark == at;
#endif
            if
            :: !read -> live[at] = false
            :: else
            fi
        :: else
        fi;
        at++
    :: else -> break
    od;
    atomic {
        at = 0;
        mark = 0;
        read = false
    }
}

proctype writer()
{
    byte published, newest = 1, at, mark;
    bool read;

    do
    :: published < PUBLICATIONS ->
        published++;
        if /* any memory that is free */
        :: !live[1] -> newest = 1
        :: !live[2] -> newest = 2
        :: !live[3] -> newest = 3
        :: !live[4] -> newest = 4
        fi;
        live[newest] = true;
#if MUTATION == FREED_BEFORE_PUBLISHED
        free_older();
        exchange(WRITER, TEXT, newest)
#elif MUTATION == PUBLISHED_PLAINLY
        store(WRITER, TEXT, newest);
        free_older()
#else
        exchange(WRITER, TEXT, newest);
        free_older()
#endif
    :: else -> break
    od
}

proctype tso_memory()
{
end:
    do
    :: tso_flush(0)
    :: tso_flush(1)
    :: tso_flush(WRITER)
    od
}

init {
    atomic {
        live[1] = true;
        memory[TEXT] = 1;
        run reader(0);
        run reader(1);
        run writer();
        run tso_memory()
    }
}
