/*
 * Cancelling operations (lib/io/operation.c, lib/sched/interrupt.c, spawn.c: release) on x86-TSO.
 *
 * A coroutine does one operation under context 0, one under context 1, ends, and its block is
 * used by the next coroutine for an operation that nobody wants cancelled. It runs on either of two
 * workers, each with a ring; completions of a ring are reaped by either worker, under the ring's
 * reap lock. A thread ends the contexts, or does not, and may be as late as it likes: also so
 * late that it sends a message for the next coroutine. An operation completes some time, or never
 * unless it is cancelled. The kernel takes submissions in order, but may carry out a cancel later.
 *
 * Proved: an operation is cancelled only when its context has ended; one whose context has ended
 * does not stay; the cancel message is never linked twice, nor in a recycled block; a
 * coroutine goes on only after its operation's completion.
 *
 * variant IN_ORDER_WITHOUT_GENERATION: user_data without a generation, cancels carried out in order
 *
 * mutation NO_GENERATION: the same with a kernel that is late
 * mutation BLIND_MESSAGE: the message cancels whatever is in flight
 * mutation RECYCLED_WHILE_QUEUED: the block is used again with a message under way
 * mutation CLEARED_AFTER_CHECK: the owner looks first, and then takes off the mark that a message is under way
 * mutation NO_REAP_LOCK: the owner looks while others may reap
 * mutation HOME_IN_COMMIT: the operation is marked in flight before the coroutine's home is its ring
 * mutation NOT_FORWARDED: a message for a coroutine that is on another ring by now is dropped
 * mutation NO_FENCE_IN_COMMIT: the context is looked at before the wait is visible
 */
#define NO_GENERATION               1
#define BLIND_MESSAGE               2
#define RECYCLED_WHILE_QUEUED       3
#define CLEARED_AFTER_CHECK         4
#define NO_REAP_LOCK                5
#define HOME_IN_COMMIT              6
#define NOT_FORWARDED               7
#define NO_FENCE_IN_COMMIT          8
#define IN_ORDER_WITHOUT_GENERATION 9
#ifndef MUTATION
#define MUTATION 0
#endif

#define THREADS   3 /* 0, 1: workers; each with the ring of its number */
#define CANCELLER 2
#define BUFFERED  3
#define ADDRESSES 5
#define WAIT      0
#define ENDED(k)  (1 + (k)) /* k: 0, 1; 2 never ends, and 3 is for late looks at what is over */
#include "tso.h"

#define NONE      0
#define OPERATION 1

mtype = {submit, cancel};

/* The rings. */
chan sq[2] = [2] of {mtype, byte};
chan cq[2] = [1] of {bool}; /* whether cancelled; at most one operation in all */
byte in_kernel[2];          /* generation of the operation there, 0: none */
bool endless[2];
byte late_cancel[2];        /* generation to cancel, 0: none */
bool reaping[2];

/* The coroutine's block. */
byte step; /* the operation, and number of its context; 2 is the next coroutine's */
bool started, alive = true, queued, released;
byte home, generation;
bool in_flight, cancelled, result;

chan mailbox[2] = [1] of {byte};
chan run_queue = [1] of {byte};

/* For the assertions only. */
bool linked;

/* gyre_coro_interrupt. */
inline interrupt(thread)
{
    load(thread, WAIT, w);
    if
    :: w == OPERATION ->
        target = home;
        d_step {
            DRAINED(thread) ->
            push = (alive && !queued);
            queued = queued || push
        }
        if
        :: push ->
            atomic {
                push = false;
                assert(!linked);
                linked = true;
                mailbox[target]!0
            }
        :: else
        fi;
        target = 0
    :: else
    fi;
    w = NONE
}

inline recycle()
{
    d_step {
        assert(!linked);
        alive = true;
        queued = false;
        released = false;
        started = false;
        run_queue!0
    }
}

/* The coroutine of steps 0 and 1 is over. */
inline finish()
{
    d_step {
        DRAINED(self) ->
        alive = false
#if MUTATION != RECYCLED_WHILE_QUEUED
        ;
        released = queued;
        push = !queued
    }
    if
    :: push -> push = false; recycle()
    :: else
    fi
#else
    }
    recycle()
#endif
}

inline check_and_cancel()
{
#if MUTATION != NO_REAP_LOCK
    atomic { DRAINED(self) && !reaping[self] -> reaping[self] = true }
#endif
    mine = in_flight;
    mine = mine && home == self;
    if
    :: mine ->
        load(self, WAIT, w);
        mine = mine && w == OPERATION && !cancelled;
        w = 0;
#if MUTATION != BLIND_MESSAGE
        load(self, ENDED(step), ended);
        mine = mine && ended;
        ended = false;
#endif
        if
        :: mine ->
            cancelled = true;
            sq[self]!cancel, generation
        :: else
        fi
    :: else
    fi;
    mine = false;
#if MUTATION != NO_REAP_LOCK
    reaping[self] = false
#endif
}

/* True in free: the message was the last that held the block. */
inline unqueue()
{
    d_step {
        DRAINED(self) ->
        linked = false;
        queued = false;
        free = released;
        released = false
    }
}

inline handle_cancel()
{
#if MUTATION == CLEARED_AFTER_CHECK
    check_and_cancel();
#endif
    unqueue();
    if
    :: free ->
        free = false;
        recycle()
    :: else ->
#if MUTATION != CLEARED_AFTER_CHECK
        check_and_cancel();
#endif
#if MUTATION != NOT_FORWARDED
        if
        :: home != self ->
            load(self, ENDED(step), ended);
            if
            :: ended -> ended = false; interrupt(self)
            :: else
            fi
        :: else
        fi
#endif
    fi
}

inline begin_and_commit()
{
#if MUTATION != HOME_IN_COMMIT
    home = self;
#endif
    d_step {
        generation++;
        cancelled = false
    }
    in_flight = true;
    started = true;
    context = step;
#if MUTATION == HOME_IN_COMMIT
    home = self;
#endif
    store(self, WAIT, OPERATION);
#if MUTATION != NO_FENCE_IN_COMMIT
    fence(self);
#endif
    load(self, ENDED(context), ended);
    if
    :: ended -> ended = false; interrupt(self)
    :: else
    fi;
    context = 0;
    /* The next enter. */
    sq[self]!submit, generation
}

inline go_on()
{
    if
    :: started ->
        assert(!in_flight);
        store(self, WAIT, NONE);
        load(self, ENDED(step), ended);
        assert(!result || ended);
        ended = false;
        result = false;
        started = false;
        step++
    :: else
    fi;
    do
    :: step < 2 ->
        load(self, ENDED(step), ended);
        if
        :: ended -> ended = false; step++
        :: else -> break
        fi
    :: else -> break
    od;
    if
    :: step == 2 && !second ->
        second = true;
        finish()
    :: step < 2 || (step == 2 && second) ->
        begin_and_commit()
    :: step == 3 -> skip
    fi
}

inline reap(ring)
{
    atomic { DRAINED(self) && !reaping[ring] && nempty(cq[ring]) -> reaping[ring] = true };
    cq[ring]?result;
    in_flight = false;
    run_queue!0;
    reaping[ring] = false
}

bool second; /* the next coroutine has the block */

proctype worker(byte self)
{
    byte w, target, context;
    bool push, mine, ended, free;

end:
    do
    :: run_queue?_ -> go_on()
    :: mailbox[self]?_ -> handle_cancel()
    :: reap(0)
    :: reap(1)
    od
}

inline kernel_cancels(which)
{
    if
#if MUTATION == NO_GENERATION || MUTATION == IN_ORDER_WITHOUT_GENERATION
    :: in_kernel[ring] ->
#else
    :: in_kernel[ring] && in_kernel[ring] == which ->
#endif
        in_kernel[ring] = 0;
        endless[ring] = false;
        cq[ring]!true
    :: else
    fi
}

proctype kernel(byte ring)
{
    byte which;

end:
    do
    :: atomic {
            sq[ring]?submit, which ->
            in_kernel[ring] = which;
            which = 0;
            if
            :: endless[ring] = true
            :: endless[ring] = false
            fi
        }
    :: atomic {
            sq[ring]?cancel, which ->
            if
            :: kernel_cancels(which)
#if MUTATION != IN_ORDER_WITHOUT_GENERATION
            :: !late_cancel[ring] -> late_cancel[ring] = which
#endif
            fi;
            which = 0
        }
    :: atomic {
            late_cancel[ring] ->
            kernel_cancels(late_cancel[ring]);
            late_cancel[ring] = 0
        }
    :: atomic {
            in_kernel[ring] && !endless[ring] ->
            in_kernel[ring] = 0;
            cq[ring]!false
        }
    od
}

proctype canceller()
{
    byte w, target;
    bool push;

    if
    ::  store(CANCELLER, ENDED(0), 1);
        fence(CANCELLER);
        interrupt(CANCELLER)
    :: skip
    fi;
    if
    ::  store(CANCELLER, ENDED(1), 1);
        fence(CANCELLER);
        interrupt(CANCELLER)
    :: skip
    fi
}

proctype tso_memory()
{
end:
    do
    :: tso_flush(0)
    :: tso_flush(1)
    :: tso_flush(CANCELLER)
    od
}

init {
    atomic {
        run_queue!0;
        run worker(0);
        run worker(1);
        run kernel(0);
        run kernel(1);
        run canceller();
        run tso_memory()
    }
    timeout ->
    /* Over, or an operation is in the kernel for ever and rightly so. */
    d_step {
        assert(!linked);
        assert(step == 3 || (in_flight && in_kernel[home] == generation && endless[home] &&
                             !memory[ENDED(step)]))
    }
}
