/*
 * A wake in the ring of a worker that others help (lib/sched/watchdog.c, idle.c).
 *
 * A worker goes to sleep, twice. A waker claims it and then posts a completion to its ring. A helper
 * that took the worker for stuck, and will find out later that it isn't, reaps that ring, a few
 * times. The kernel lets the worker sleep if the queue is empty when it enters; a completion that is
 * posted after that wakes it, reaped by whomever. The order of words is that of locked instructions
 * and system calls, so memory is sequentially consistent here.
 *
 * Proved: when nothing moves any more, a worker that was notified does not sleep.
 *
 * mutation WAKE_LOST: the helper keeps what it reaped
 * mutation STATE_BEFORE_REAP: the helper asks for the worker's state before it reaps
 * variant POSTED_BEFORE_NOTIFIED: the wake is posted while the worker is only claimed
 * variant NOTIFIED_ONLY: a worker that is only claimed is not woken again
 */
#define WAKE_LOST              1
#define STATE_BEFORE_REAP      2
#define POSTED_BEFORE_NOTIFIED 3
#define NOTIFIED_ONLY          4
#ifndef MUTATION
#define MUTATION 0
#endif

#define SLEEPS 2
#define REAPS  3

#define RUNNING  0
#define SLEEPING 1
#define CLAIMED  2
#define NOTIFIED 3

byte state, queue;
bool posted; /* since the worker entered */
bool asleep; /* for the assertion only */

inline post()
{
    d_step {
        queue++;
        posted = true
    }
}

proctype worker()
{
    byte slept;

    do
    :: slept < SLEEPS ->
        slept++;
        state = SLEEPING;
        if
        :: queue > 0 -> skip
        :: else ->
            d_step { posted = (queue > 0) }; /* enters */
            asleep = true;
end_asleep:
            posted;
            asleep = false
        fi;
        queue = 0; /* its own reap */
        if
        :: d_step { state == SLEEPING -> state = RUNNING }
        :: else ->
            state == NOTIFIED;
            state = RUNNING
        fi
    :: else -> break
    od
}

proctype waker()
{
    byte claims;

end:
    do
    :: d_step { state == SLEEPING -> state = CLAIMED };
#if MUTATION == POSTED_BEFORE_NOTIFIED
        post();
        state = NOTIFIED
#else
        state = NOTIFIED;
        post()
#endif
    od
}

proctype helper()
{
    byte reaps, taken, seen;

    do
    :: reaps < REAPS ->
        reaps++;
#if MUTATION == STATE_BEFORE_REAP
        seen = state;
#endif
        d_step {
            taken = queue;
            queue = 0
        }
#if MUTATION != STATE_BEFORE_REAP
        seen = state;
#endif
        if
#if MUTATION == WAKE_LOST
        :: false
#elif MUTATION == NOTIFIED_ONLY
        :: taken && seen == NOTIFIED -> post()
#else
        :: taken && (seen == NOTIFIED || seen == CLAIMED) -> post()
#endif
        :: else
        fi;
        d_step {
            taken = 0;
            seen = 0
        }
    :: break
    od
}

init {
    atomic {
        run worker();
        run waker();
        run helper()
    }
    timeout -> assert(!asleep || state == SLEEPING)
}
