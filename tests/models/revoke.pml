/*
 * Revoking (lib/io/stream_deadline.c; lib/io/operation.c: begin, commit, gyre_operation_revoke,
 * handle_cancel) on x86-TSO.
 *
 * A coroutine is in a call of a stream: it looks at the deadline, becomes the half's waiter, and
 * repeats its operation for as long as that is cancelled and nothing is revoked. Then it leaves and
 * does one more operation, of another stream whose deadline nobody moves. Two workers, each with a
 * ring, whose completions either reaps. A third thread, as a timer or another worker's coroutine,
 * moves the deadline: it has passed, it has not, in any order. Contexts are op_cancel.pml's.
 *
 * Proved: an operation whose deadline has passed does not stay; a call fails only by a revocation
 * that it finds; what was taken back leaves an operation in the kernel or a coroutine that runs;
 * the next operation neither fails nor is cancelled for the last one's deadline.
 *
 * mutation NO_FENCE_IN_REVOKE: the wait is looked at before the reason is visible
 * mutation NO_FENCE_IN_COMMIT: the reason is looked at before the wait is visible
 * mutation INTERRUPTED_FIRST: the coroutine is told before there is a reason
 * mutation NOT_RESTORED: who leaves takes nothing back
 * mutation LEAVES_UNLOCKED: who leaves takes it back without the lock
 * mutation LOOKS_UNLOCKED: the deadline is looked at before the lock that makes the waiter
 * mutation KEEPS_ERROR: an operation that was cancelled has failed, whether that was taken back or not
 * mutation NOT_FORWARDED: a message for a coroutine that is on another ring by now is dropped
 * mutation NOT_LOOKED_AGAIN: the owner does not look once the message may be sent again
 */
#define NO_FENCE_IN_REVOKE 1
#define NO_FENCE_IN_COMMIT 2
#define INTERRUPTED_FIRST  3
#define NOT_RESTORED       4
#define LEAVES_UNLOCKED    5
#define LOOKS_UNLOCKED     6
#define KEEPS_ERROR        7
#define NOT_FORWARDED      8
#define NOT_LOOKED_AGAIN   9
#ifndef MUTATION
#define MUTATION 0
#endif

#define THREADS   3 /* 0, 1: workers; each with the ring of its number */
#define MOVER     2
#define BUFFERED  4
#define ADDRESSES 5
#define WAIT      0
#define REVOKED   1
#define LOCK      2
#define WAITER    3
#define PASSED    4
#include "tso.h"

#define NONE      0
#define OPERATION 1
#define MOVES     3

mtype = {submit, cancel};

/* The rings. */
chan sq[2] = [3] of {mtype, byte};
chan cq[2] = [1] of {bool}; /* whether cancelled; at most one operation in all */
byte in_kernel[2];          /* generation of the operation there, 0: none */
bool endless[2];
bool reaping[2];

/* The coroutine's block. */
byte step; /* 0: the stream's operation; 1: the next; 2: over */
bool started, queued;
byte home, generation;
bool in_flight, cancelled, result;

chan mailbox[2] = [1] of {byte};
chan run_queue = [1] of {byte};

inline interrupt(thread)
{
    load(thread, WAIT, w);
    if
    :: w == OPERATION ->
        target = home;
        d_step {
            DRAINED(thread) ->
            push = !queued;
            queued = true
        }
        if
        :: push -> push = false; mailbox[target]!0
        :: else
        fi;
        target = 0
    :: else
    fi;
    w = NONE
}

/* In wanted. */
inline wants_cancel()
{
    wanted = in_flight && home == self;
    if
    :: wanted ->
        load(self, WAIT, w);
        wanted = w == OPERATION && !cancelled;
        w = NONE;
        load(self, REVOKED, seen);
        wanted = wanted && seen;
        seen = 0
    :: else
    fi
}

inline handle_cancel()
{
    atomic { DRAINED(self) && !reaping[self] -> reaping[self] = true }
    wants_cancel();
    if
    :: wanted ->
        assert(step == 0);
        cancelled = true;
        sq[self]!cancel, generation
    :: else
    fi;
    wanted = false;
    reaping[self] = false;
    d_step { DRAINED(self) -> queued = false }
    load(self, WAIT, w);
    if
    :: w == OPERATION && home != self ->
        w = NONE;
#if MUTATION != NOT_FORWARDED
        interrupt(self)
#endif
    :: w == OPERATION && home == self ->
        w = NONE;
#if MUTATION != NOT_LOOKED_AGAIN
        atomic { DRAINED(self) && !reaping[self] -> reaping[self] = true }
        wants_cancel();
        reaping[self] = false;
        if
        :: wanted -> wanted = false; interrupt(self)
        :: else
        fi
#endif
    :: else -> w = NONE
    fi
}

inline begin_and_commit()
{
    home = self;
    d_step {
        generation++;
        cancelled = false
    }
    in_flight = true;
    started = true;
    store(self, WAIT, OPERATION);
#if MUTATION != NO_FENCE_IN_COMMIT
    fence(self);
#endif
    load(self, REVOKED, seen);
    if
    :: seen -> seen = 0; interrupt(self)
    :: else
    fi;
    /* The next enter. */
    sq[self]!submit, generation
}

inline leave()
{
#if MUTATION != LEAVES_UNLOCKED
    lock(self, LOCK);
#endif
    store(self, WAITER, 0);
#if MUTATION != NOT_RESTORED
    store(self, REVOKED, 0);
#endif
#if MUTATION != LEAVES_UNLOCKED
    unlock(self, LOCK);
#endif
    step = 1
}

/* True in over: it has timed out before it began. */
inline enter_call()
{
#if MUTATION == LOOKS_UNLOCKED
    load(self, PASSED, over);
    lock(self, LOCK);
#else
    lock(self, LOCK);
    load(self, PASSED, over);
#endif
    if
    :: !over -> store(self, WAITER, 1)
    :: else
    fi;
    unlock(self, LOCK);
    entered = true;
    if
    :: over -> over = false; step = 1
    :: else
    fi
}

bool entered;

inline go_on()
{
    if
    :: started ->
        assert(!in_flight);
        started = false;
        store(self, WAIT, NONE);
        assert(!result || step == 0);
        if
        :: step == 1 -> step = 2
        :: step == 0 && !result -> leave()
#if MUTATION == KEEPS_ERROR
        :: step == 0 && result -> assert(memory[REVOKED]); leave()
#else
        :: step == 0 && result
#endif
        fi;
        result = false
    :: else
    fi;
    if
    :: !entered -> enter_call()
    :: else
    fi;
    if
    :: step < 2 ->
        /* gyre_operation_begin */
        load(self, REVOKED, seen);
        if
        :: seen ->
            seen = 0;
            assert(step == 0);
            leave();
            load(self, REVOKED, seen);
            assert(!seen)
        :: else
        fi;
        begin_and_commit()
    :: else
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

proctype worker(byte self)
{
    byte w, target, seen;
    bool push, wanted, over;

end:
    do
    :: run_queue?_ -> go_on()
    :: mailbox[self]?_ -> handle_cancel()
    :: reap(0)
    :: reap(1)
    od
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
            :: in_kernel[ring] == which ->
                in_kernel[ring] = 0;
                endless[ring] = false;
                cq[ring]!true
            :: else
            fi;
            which = 0
        }
    :: atomic {
            in_kernel[ring] && !endless[ring] ->
            in_kernel[ring] = 0;
            cq[ring]!false
        }
    od
}

inline revoke()
{
#if MUTATION == INTERRUPTED_FIRST
    interrupt(MOVER);
    store(MOVER, REVOKED, 1)
#else
    store(MOVER, REVOKED, 1);
#if MUTATION != NO_FENCE_IN_REVOKE
    fence(MOVER);
#endif
    interrupt(MOVER)
#endif
}

inline move(to)
{
    lock(MOVER, LOCK);
    store(MOVER, PASSED, to);
    load(MOVER, WAITER, waits);
    if
    :: waits && to -> revoke()
    :: waits && !to -> store(MOVER, REVOKED, 0)
    :: else
    fi;
    waits = 0;
    unlock(MOVER, LOCK)
}

proctype mover()
{
    byte w, target, waits, moves;
    bool push;

    do
    :: moves < MOVES -> moves++; move(1)
    :: moves < MOVES -> moves++; move(0)
    :: break
    od
}

proctype tso_memory()
{
end:
    do
    :: tso_flush(0)
    :: tso_flush(1)
    :: tso_flush(MOVER)
    od
}

init {
    atomic {
        run_queue!0;
        run worker(0);
        run worker(1);
        run kernel(0);
        run kernel(1);
        run mover();
        run tso_memory()
    }
    timeout ->
    /* Over, or an operation is in the kernel for ever and rightly so. */
    d_step {
        assert(!queued);
        assert(step == 2 || (in_flight && in_kernel[home] == generation && endless[home]));
        assert(step != 0 || !memory[PASSED])
    }
}
