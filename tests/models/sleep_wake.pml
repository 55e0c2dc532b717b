/*
 * Idle workers (lib/sched/idle.c, and the pushes in worker.c) on x86-TSO.
 *
 * Two workers and a foreign thread. The thread injects two items, and one message for worker 0's
 * mailbox. A worker that runs an item may queue one more (once in all), and then either ends the
 * item or computes for ever: a hog. Sleepers may also wake by themselves, for a timer or a
 * completion of their own. Wakes are completions in the target's ring, so they stick.
 *
 * Proved: when nothing moves any more, no worker sleeps with a message in its mailbox, and none sleeps
 * while an item is queued anywhere, so work waits only when every worker has some; the counts in
 * the word are never negative, and exact at the end.
 *
 * mutation NO_FENCE_IN_READIER: the word is read before the item is visible
 * mutation NO_RESCAN: a worker sleeps without looking again
 * mutation RESCAN_BEFORE_PUBLISH: it looks again before it is known to sleep
 * mutation STILL_SEARCHING: it looks again before it stops counting as searching
 * mutation STATE_BEFORE_WORD: a sleeper can be claimed before the word counts it
 * mutation LAST_SEARCHER_SILENT: the last searcher that finds something wakes nobody
 * mutation COUNTED_AFTER_NOTIFIED: a sleeper may go on before its waker has corrected the word
 * mutation SLEEPER_WITHOUT_CAS: a sleeper that wakes by itself believes that nobody notified it
 * mutation NOTIFIED_NOT_SEARCHING: a notified worker does not know that it counts as searching
 */
#define NO_FENCE_IN_READIER    1
#define NO_RESCAN              2
#define RESCAN_BEFORE_PUBLISH  3
#define STILL_SEARCHING        4
#define LAST_SEARCHER_SILENT   5
#define COUNTED_AFTER_NOTIFIED 6
#define SLEEPER_WITHOUT_CAS    7
#define NOTIFIED_NOT_SEARCHING 8
#define STATE_BEFORE_WORD      9
#ifndef MUTATION
#define MUTATION 0
#endif

#define WORKERS    2
#define ITEMS      2 /* injected */
#define SPAWNS     1 /* by workers */
#define SELF_WAKES 1

#define FOREIGN   WORKERS /* also its queue's number: the injection queue */
#define THREADS   3
#define BUFFERED  3
#define ADDRESSES 6
#define PUSHED(q) (q) /* items ever pushed; 0, 1: each worker's own */
#define STATE(w)  (3 + (w))
#define MAIL      5
#include "tso.h"

#define RUNNING  0
#define SLEEPING 1
#define CLAIMED  2 /* a waker has it, and corrects the word */
#define NOTIFIED 3

/* The word: always changed by locked instructions, both halves at once. */
short sleeping, searching;

byte taken[THREADS]; /* items ever taken, by locked instructions */
bool wake[WORKERS];
byte spawned, self_wakes;

/* For the assertions only. */
bool asleep[WORKERS], hog[WORKERS];

inline word_add(thread, more_sleeping, more_searching)
{
    d_step {
        DRAINED(thread) ->
        sleeping = sleeping + more_sleeping;
        searching = searching + more_searching;
        assert(sleeping >= 0 && searching >= 0)
    }
}

/* done = whether w slept, and was woken */
inline claim_sleeper(thread, w)
{
    atomic {
        load(thread, STATE(w), state);
        slept = (state == SLEEPING);
        state = 0
    }
    if
    :: slept ->
        slept = false;
#if MUTATION == COUNTED_AFTER_NOTIFIED
        compare_exchange(thread, STATE(w), SLEEPING, NOTIFIED, done);
#else
        compare_exchange(thread, STATE(w), SLEEPING, CLAIMED, done);
#endif
        if
        :: done ->
            word_add(thread, -1, 1);
#if MUTATION != COUNTED_AFTER_NOTIFIED
            store(thread, STATE(w), NOTIFIED);
#endif
            wake[w] = true
        :: else
        fi
    :: else
    fi
}

inline wake_one(thread)
{
    if
    :: sleeping > 0 && searching == 0 ->
        target = 0;
        do
        :: target < WORKERS && !done ->
            claim_sleeper(thread, target);
            target++
        :: else -> break
        od;
        target = 0;
        done = false
    :: else
    fi
}

inline made_visible(thread)
{
#if MUTATION != NO_FENCE_IN_READIER
    fence(thread);
#endif
    wake_one(thread)
}

proctype foreign()
{
    byte pushed, target, state;
    bool done, slept, mailed;

    do
    :: pushed < ITEMS ->
        pushed++;
        store(FOREIGN, PUSHED(FOREIGN), pushed);
        made_visible(FOREIGN)
    :: !mailed ->
        mailed = true;
        store(FOREIGN, MAIL, 1);
#if MUTATION != NO_FENCE_IN_READIER
        fence(FOREIGN);
#endif
        claim_sleeper(FOREIGN, 0);
        done = false
    :: pushed == ITEMS && mailed -> break
    od
}

/* found = whether anything is queued, or mailed to this worker; plain loads */
inline look()
{
    do
    :: q <= WORKERS && !found ->
        atomic {
            load(self, PUSHED(q), seen);
            found = (seen != taken[q]);
            q++;
            seen = 0
        }
    :: else -> break
    od;
    atomic {
        q = 0;
        if
        :: self == 0 && !found -> load(self, MAIL, found)
        :: else
        fi
    }
}

/* found = an item of queue q was taken */
inline take(q)
{
    d_step {
        DRAINED(self) ->
        found = (memory[PUSHED(q)] != taken[q]);
        if
        :: found -> taken[q]++
        :: else
        fi
    }
}

inline publish_sleep()
{
#if MUTATION == STATE_BEFORE_WORD
    exchange(self, STATE(self), SLEEPING);
#endif
#if MUTATION == STILL_SEARCHING
    word_add(self, 1, 0);
#else
    if
    :: counted -> word_add(self, 1, -1)
    :: else -> word_add(self, 1, 0)
    fi;
#endif
#if MUTATION != STATE_BEFORE_WORD
    store(self, STATE(self), SLEEPING);
#endif
    fence(self)
}

/* Awake again; search_on: goes on as a searcher. */
inline retract_sleep(search_on)
{
#if MUTATION == SLEEPER_WITHOUT_CAS
    store(self, STATE(self), RUNNING);
    done = true;
#else
    compare_exchange(self, STATE(self), SLEEPING, RUNNING, done);
#endif
    if
    :: done ->
        if
        :: search_on -> word_add(self, -1, 1)
        :: else -> word_add(self, -1, 0)
        fi;
        counted = search_on
    :: else ->
#if MUTATION != COUNTED_AFTER_NOTIFIED
        memory[STATE(self)] == NOTIFIED; /* spins a few instructions */
#endif
        store(self, STATE(self), RUNNING);
#if MUTATION == NOTIFIED_NOT_SEARCHING
        counted = false
#else
        counted = true
#endif
    fi;
    done = false
}

inline sleep()
{
#if MUTATION == RESCAN_BEFORE_PUBLISH
    look();
    publish_sleep();
#else
    publish_sleep();
#if MUTATION != NO_RESCAN
    look();
#endif
#endif
#if MUTATION == STILL_SEARCHING
    if
    :: counted -> word_add(self, 0, -1)
    :: else
    fi;
#endif
    counted = false;
    if
    :: found ->
        retract_sleep(true)
    :: else ->
                asleep[self] = true;
end_asleep:
        if
        :: d_step { wake[self] -> asleep[self] = false }
        :: d_step { self_wakes < SELF_WAKES -> self_wakes++; asleep[self] = false }
        fi;
        retract_sleep(false)
    fi;
    found = false
}

inline stop_searching()
{
    d_step {
        DRAINED(self) ->
        done = (searching == 1);
        searching--;
        assert(searching >= 0)
    }
    counted = false;
    if
    :: done ->
        done = false;
#if MUTATION != LAST_SEARCHER_SILENT
        wake_one(self)
#endif
    :: else
    fi
}

proctype worker(byte self)
{
    byte q, seen, target, state;
    bool counted, found, done, slept;

    do
    :: /* what came from outside, then its own queue */
        atomic {
            wake[self] = false;
            if
            :: self == 0 && memory[MAIL] -> exchange(self, MAIL, 0)
            :: else
            fi
        }
        take(self);
        if
        :: !found && !counted && 2 * searching < WORKERS ->
            word_add(self, 0, 1);
            counted = true
        :: else
        fi;
        if
        :: !found && counted ->
            q = 0;
            do
            :: q <= WORKERS && !found ->
                take(q);
                q++
            :: else -> break
            od;
            q = 0
        :: else
        fi;
        if
        :: !found -> sleep()
        :: found ->
            found = false;
            if
            :: counted -> stop_searching()
            :: else
            fi;
            if
            :: d_step { spawned < SPAWNS -> spawned++ };
                load(self, PUSHED(self), seen);
                store(self, PUSHED(self), seen + 1);
                seen = 0;
                made_visible(self)
            :: skip
            fi;
            if
            :: hog[self] = true ->
                break
            :: skip
            fi
        fi
    od
}

proctype tso_memory()
{
end:
    do
    :: tso_flush(0)
    :: tso_flush(1)
    :: tso_flush(FOREIGN)
    od
}

#define QUEUED                                                                                     \
    (memory[PUSHED(0)] + memory[PUSHED(1)] + memory[PUSHED(FOREIGN)] - taken[0] - taken[1] -       \
     taken[FOREIGN])

init {
    atomic {
        run worker(0);
        run worker(1);
        run foreign();
        run tso_memory()
    }
    timeout ->
    d_step {
        assert(asleep[0] != hog[0] && asleep[1] != hog[1]);
        assert(QUEUED == 0 || (hog[0] && hog[1]));
        assert(!asleep[0] || !memory[MAIL]);
        assert(sleeping == asleep[0] + asleep[1]);
        assert(searching == 0)
    }
}
