/*
 * The watchdog's falling asleep (lib/sched/watchdog.c, idle.c) on x86-TSO.
 *
 * Two workers sleep and wake up a few times, by themselves, or notified by a third thread, or never
 * really asleep, for they found something in their last look; each at last computes for ever or
 * sleeps. A look of the watchdog that finds somebody awake is followed by another, some time: that
 * changes nothing while the same ones are awake, so here it waits until it would find something else.
 *
 * Proved: when nothing moves any more and a worker computes, the watchdog does not sleep for ever;
 * and when all workers sleep, so does it.
 *
 * mutation EARLY_RETURN_SILENT: who finds something when about to sleep does not wake the watchdog
 * mutation NO_LAST_LOOK: the watchdog does not look again when it has said that it sleeps
 * mutation SAID_PLAINLY: it looks again before others can see that
 * mutation SAID_AFTER_LOOK: it says so after the last look
 * mutation AWAKE_PLAINLY: a worker looks for the watchdog before others can see it awake
 * mutation LOOKED_BEFORE_AWAKE: a worker looks for the watchdog while it still counts as asleep
 * mutation ATTENTION_READ_LATE: the word that the watchdog sleeps on is read after the last look
 * mutation WOKEN_WITHOUT_ATTENTION: the watchdog is woken, but the word that it sleeps on is the same
 */
#define EARLY_RETURN_SILENT     1
#define NO_LAST_LOOK            2
#define SAID_PLAINLY            3
#define SAID_AFTER_LOOK         4
#define AWAKE_PLAINLY           5
#define LOOKED_BEFORE_AWAKE     6
#define ATTENTION_READ_LATE     7
#define WOKEN_WITHOUT_ATTENTION 8
#ifndef MUTATION
#define MUTATION 0
#endif

#define WORKERS 2
#define SLEEPS  2 /* of each worker */
#define CLAIMS  1

#define WATCHER   WORKERS
#define WAKER     3
#define THREADS   4
#define BUFFERED  2
#define ADDRESSES 3
#define STATE(w)  (w)
#define WATCHDOG  2
#include "tso.h"

#define RUNNING  0
#define SLEEPING 1
#define CLAIMED  2
#define NOTIFIED 3

#define LOOKING 0
#define ASLEEP  1

byte attention; /* changed by locked instructions */
bool notified[WORKERS];

/* For the assertions only. */
bool computes[WORKERS], watcher_asleep;

inline wake_watchdog()
{
    load(self, WATCHDOG, seen);
    if
    :: seen == ASLEEP ->
        compare_exchange(self, WATCHDOG, ASLEEP, LOOKING, done);
        if
        :: done ->
#if MUTATION != WOKEN_WITHOUT_ATTENTION
            d_step { DRAINED(self) -> attention++ }
#else
            skip
#endif
        :: else
        fi
    :: else
    fi;
    done = false;
    seen = 0
}

inline retract_sleep()
{
#if MUTATION == LOOKED_BEFORE_AWAKE
    wake_watchdog();
#endif
#if MUTATION == AWAKE_PLAINLY
    if
    :: memory[STATE(self)] == SLEEPING && !notified[self] ->
        store(self, STATE(self), RUNNING);
        done = true
    :: else
    fi;
#else
    compare_exchange(self, STATE(self), SLEEPING, RUNNING, done);
#endif
    if
    :: done -> done = false
    :: else ->
        memory[STATE(self)] == NOTIFIED;
        store(self, STATE(self), RUNNING)
    fi
}

proctype worker(byte self)
{
    byte slept, seen;
    bool done;

    do
    :: slept < SLEEPS ->
        slept++;
        store(self, STATE(self), SLEEPING);
        fence(self);
        if
        :: true -> /* found something */
            retract_sleep();
#if MUTATION != EARLY_RETURN_SILENT && MUTATION != LOOKED_BEFORE_AWAKE
            wake_watchdog()
#endif
        :: true ->
end_sleep:
            if
            :: notified[self] -> notified[self] = false
            :: slept < SLEEPS /* by itself, but for the last time */
            fi;
            retract_sleep();
#if MUTATION != LOOKED_BEFORE_AWAKE
            wake_watchdog()
#endif
        fi
    :: computes[self] = true;
        break
    od
}

proctype waker()
{
    byte claims, target;
    bool done;

    do
    :: claims < CLAIMS ->
        claims++;
        if
        :: target = 0
        :: target = 1
        fi;
        compare_exchange(WAKER, STATE(target), SLEEPING, CLAIMED, done);
        if
        :: done ->
            store(WAKER, STATE(target), NOTIFIED);
            d_step { DRAINED(WAKER) -> notified[target] = true } /* a system call */
        :: else
        fi;
        done = false
    :: break
    od
}

/* all = whether all workers sleep */
inline look()
{
    all = true;
    w = 0;
    do
    :: w < WORKERS ->
        load(WATCHER, STATE(w), seen);
        all = all && seen == SLEEPING;
        w++
    :: else -> break
    od;
    atomic {
        w = 0;
        seen = 0
    }
}

#define ALL_SLEEP (memory[STATE(0)] == SLEEPING && memory[STATE(1)] == SLEEPING)

proctype watcher()
{
    byte value, w, seen;
    bool all;

    do
    :: value = attention;
        look();
        if
        :: !all ->
end_watching:
            ALL_SLEEP
        :: else ->
#if MUTATION == SAID_AFTER_LOOK
            look();
            exchange(WATCHER, WATCHDOG, ASLEEP);
#else
#if MUTATION == SAID_PLAINLY
            store(WATCHER, WATCHDOG, ASLEEP);
#else
            exchange(WATCHER, WATCHDOG, ASLEEP);
#endif
#if MUTATION != NO_LAST_LOOK
            look();
#endif
#endif
#if MUTATION == ATTENTION_READ_LATE
            value = attention;
#endif
            if
            :: all ->
                DRAINED(WATCHER); /* a system call */
                watcher_asleep = true;
end_asleep:
                attention != value;
                watcher_asleep = false
            :: else
            fi;
            store(WATCHER, WATCHDOG, LOOKING)
        fi;
        all = false
    od
}

proctype tso_memory()
{
end:
    do
    :: tso_flush(0)
    :: tso_flush(1)
    :: tso_flush(WATCHER)
    :: tso_flush(WAKER)
    od
}

init {
    atomic {
        run worker(0);
        run worker(1);
        run waker();
        run watcher();
        run tso_memory()
    }
    timeout ->
    assert(watcher_asleep == !(computes[0] || computes[1]))
}
