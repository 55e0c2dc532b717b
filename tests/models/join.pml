/*
 * Joining (lib/sched/spawn.c): a wait without a lock, on x86-TSO. The joiner's address in the
 * child's life word is what a waiter's record is elsewhere.
 *
 * A coroutine joins a child under a context that may end, and then waits for something else,
 * which must not get what was left behind. It resumes on another worker while the commit of its
 * park may still go on, and each wait may be interrupted for no reason, any number of times; it joins
 * again then. The child ends in the usual way or by handing over to a joiner that waits already, or
 * does not end.
 *
 * The commit puts the address in and then publishes the wait, by a compare-and-swap: the end, when
 * it comes in between, has moved the wait from NONE to WOKEN, and the commit readies the joiner. An
 * interrupted joiner takes its address back while the child is ALIVE, or else stays until the end
 * is done with it.
 *
 * The usual end clears ALIVE when it has left its stack. An end that wants to hand over does so on
 * its stack, which is safe by the compare-and-swap only: with the address there nobody can join,
 * and the joiner stays. Then it claims the joiner, or, when that can't be claimed (yet, or any more),
 * leaves its stack, looks again, and lets an interrupted one go by taking its address out.
 *
 * Proved: one ready for each wait; the join ends when child or context does; the end's claim never
 * hits the later wait; the child's memory goes back once, when it has left its stack and its end
 * does not look at it any more; a lone joiner never looks like a second one.
 *
 * mutation PUBLISHED_BEFORE_REGISTERED: the wait is published, then the address goes in
 * mutation READY_WITHOUT_CLAIM: the end readies a joiner whose commit still runs
 * mutation PUBLISHED_WITHOUT_CAS: the commit does not look whether the end was faster
 * mutation NO_TAKE_BACK: an interrupted joiner leaves its address behind
 * mutation LEAVES_AT_END: an interrupted joiner leaves when the child has ended, and may claim yet
 * mutation CLAIMED_UNANNOUNCED: the end claims a joiner, who may have left, and then clears ALIVE
 * mutation CLEARED_BLINDLY: the end clears ALIVE on its stack, be the address still there or not
 * mutation LET_GO_ON_STACK: the end lets an interrupted joiner go before it has left its stack
 * mutation NEVER_LET_GO: the end leaves the address of an interrupted joiner there
 */
#define PUBLISHED_BEFORE_REGISTERED 1
#define READY_WITHOUT_CLAIM         2
#define PUBLISHED_WITHOUT_CAS       3
#define NO_TAKE_BACK                4
#define LEAVES_AT_END               5
#define CLAIMED_UNANNOUNCED         6
#define CLEARED_BLINDLY             7
#define LET_GO_ON_STACK             8
#define NEVER_LET_GO                9
#ifndef MUTATION
#define MUTATION 0
#endif

#define THREADS   4 /* 0, 1: workers that run the joiner */
#define CHILD     2 /* the worker on which the child ends */
#define CANCELLER 3
#define BUFFERED  4
#define ADDRESSES 4
#define LIFE      0 /* changed by locked instructions only */
#define WAIT      1
#define SAVED     2
#define ENDED     3
#include "tso.h"

#define ALIVE  1
#define JOINED 2 /* stands for the joiner's address */

#define NONE        0
#define WAITING     1 /* WAIT_OBJECT */
#define WOKEN       2
#define INTERRUPTED 3

chan run_queue = [1] of {byte};

/* The joiner's own, carried from worker to worker. */
byte step; /* 0: joins; 1: waits for something else; 2: over */
bool resumed;

/* For the assertions only. */
bool parked, released;
bool on_stack = true; /* the child, on its own */
bool touching;        /* its end will look at its life word again */
byte woken_for;

/* Who gets it from the queue sees what was stored before: callers' buffers are empty. */
inline ready()
{
    d_step {
        assert(parked);
        parked = false;
        run_queue!0
    }
}

inline claim(thread, to)
{
    compare_exchange(thread, WAIT, WAITING, to, won)
}

inline interrupt(thread)
{
    claim(thread, INTERRUPTED);
    if
    :: won -> won = false; ready()
    :: else
    fi
}

inline release_child()
{
    d_step {
        assert(!released && !on_stack && !touching);
        released = true
    }
}

/* After an interruption; step moves on when the child has ended. */
inline take_back()
{
#if MUTATION != NO_TAKE_BACK
    do
    :: load(self, LIFE, life);
        if
        :: (life & ALIVE) && !(life & JOINED) -> break
        :: (life & ALIVE) && (life & JOINED) ->
            compare_exchange(self, LIFE, life, life & ~JOINED, won);
            if
            :: won -> won = false; break
            :: else
            fi
        :: else ->
#if MUTATION != LEAVES_AT_END
            !(memory[LIFE] & JOINED); /* spins a few instructions */
            release_child();
#endif
            step = 1;
            break
        fi
    od;
    life = 0
#else
    step = 1
#endif
}

/* The wait stays as it is until take_back is over: the end looks at it. */
inline wait_finish()
{
    load(self, WAIT, woken);
    if
    :: woken == WOKEN ->
        assert(woken_for == step + 1);
        woken_for = 0;
        if
        :: step == 0 -> release_child()
        :: else
        fi;
        step++
    :: else ->
        assert(woken == INTERRUPTED);
        if
        :: step == 0 -> take_back()
        :: else
        fi
    fi;
    store(self, WAIT, NONE);
    woken = NONE
}

/* found = false: the child has ended. */
inline register_joiner()
{
    do
    :: load(self, LIFE, life);
        assert(!(life & JOINED)); /* else: another joiner was faster */
        if
        :: life & ALIVE ->
            compare_exchange(self, LIFE, life, life | JOINED, found);
            if
            :: found -> break
            :: else
            fi
        :: else -> break
        fi
    od;
    life = 0
}

inline commit_join()
{
#if MUTATION == PUBLISHED_BEFORE_REGISTERED
    store(self, WAIT, WAITING);
#endif
    register_joiner();
    if
    :: !found ->
        exchange(self, WAIT, WOKEN); /* a store that its being readied passes on */
        woken_for = 1;
        ready()
    :: else ->
        found = false;
#if MUTATION == PUBLISHED_WITHOUT_CAS
        exchange(self, WAIT, WAITING);
        won = true;
#elif MUTATION != PUBLISHED_BEFORE_REGISTERED
        compare_exchange(self, WAIT, NONE, WAITING, won);
#else
        won = true;
        fence(self);
#endif
        if
        :: !won -> ready()
        :: else ->
            won = false;
            load(self, ENDED, ended);
            if
            :: ended -> ended = 0; interrupt(self)
            :: else
            fi
        fi
    fi
}

proctype worker(byte self)
{
    byte life, woken, saved, ended;
    bool won, found;

end:
    do
    :: run_queue?_ ->
        load(self, SAVED, saved);
        assert(saved);
        saved = 0;
        store(self, SAVED, 0);
        if
        :: resumed -> wait_finish()
        :: else
        fi;
        do
        :: step == 2 -> break
        :: step == 1 ->
            d_step {
                resumed = true;
                parked = true
            }
            store(self, SAVED, 1);
            store(self, WAIT, WAITING);
            break
        :: step == 0 ->
            load(self, ENDED, ended);
            if
            :: ended -> ended = 0; step = 1
            :: else ->
                load(self, LIFE, life);
                assert(!(life & JOINED)); /* refuse_second */
                if
                :: !(life & ALIVE) ->
                    life = 0;
                    release_child();
                    step = 1
                :: else ->
                    life = 0;
                    d_step {
                        resumed = true;
                        parked = true
                    }
                    store(self, SAVED, 1);
                    commit_join();
                    break
                fi
            fi
        od
    od
}

/* It must be the join that is claimed, and nobody else claims it for a waker. */
inline wake()
{
    assert(step == 0 && woken_for == 0);
    woken_for = 1
}

/* wake_joiner, and what follows when it found the joiner interrupted. */
inline commit_wake_joiner()
{
    atomic {
        DRAINED(CHILD) -> life = memory[WAIT];
        if
        :: life != INTERRUPTED ->
            memory[WAIT] = WOKEN;
            wake();
            touching = false
        :: else
        fi
    }
    if
    :: touching ->
        d_step {
            DRAINED(CHILD) ->
#if MUTATION != NEVER_LET_GO
            memory[LIFE] = memory[LIFE] & ~JOINED;
#endif
            touching = false
        }
#if MUTATION == READY_WITHOUT_CLAIM
    :: !touching -> ready()
#else
    :: !touching && life == WAITING -> ready()
    :: !touching && life != WAITING -> skip
#endif
    fi
}

/* Off its stack: commit_end. */
inline end_usual()
{
    on_stack = false;
    d_step {
        DRAINED(CHILD) ->
        life = memory[LIFE];
        memory[LIFE] = life & ~ALIVE;
        touching = ((life & JOINED) != 0)
    }
    if
    :: touching -> commit_wake_joiner()
    :: else
    fi
}

/* The joiner's address stood in `life` a moment ago. */
inline finish_to_joiner()
{
#if MUTATION == CLAIMED_UNANNOUNCED
    cleared = true;
#elif MUTATION == CLEARED_BLINDLY
    d_step {
        DRAINED(CHILD) ->
        life = memory[LIFE];
        memory[LIFE] = life & ~ALIVE;
        cleared = true;
        touching = ((life & JOINED) != 0)
    }
#else
    d_step {
        compare_exchange(CHILD, LIFE, life, life & ~ALIVE, cleared);
        touching = cleared
    }
#endif
    if
    :: cleared && (life & JOINED) ->
        atomic {
            claim(CHILD, WOKEN);
            if
            :: won -> wake(); touching = false
            :: else
            fi
        }
    :: else
    fi;
    if
    :: won ->
        /* The joiner runs next on this worker, when that has left the stack. */
        on_stack = false;
#if MUTATION == CLAIMED_UNANNOUNCED
        d_step { DRAINED(CHILD) -> memory[LIFE] = memory[LIFE] & ~ALIVE }
#endif
        ready()
#if MUTATION == CLAIMED_UNANNOUNCED
    :: else -> end_usual()
#else
    :: !won && cleared ->
#if MUTATION == LET_GO_ON_STACK
        if
        :: touching -> commit_wake_joiner()
        :: else
        fi;
        on_stack = false
#else
        on_stack = false;
        if
        :: touching -> commit_wake_joiner()
        :: else /* only when cleared blindly */
        fi
#endif
    :: !won && !cleared -> end_usual()
#endif
    fi
}

/* The child's end, if it comes: gyre_coro_finish. */
proctype child_end()
{
    byte life;
    bool won, cleared;

    if
    ::  life = memory[LIFE];
        if
        :: life & JOINED -> finish_to_joiner()
        :: end_usual() /* also when the joiner may not pass what is queued */
        fi
    :: skip
    fi
}

/* What the second wait is for. */
proctype event()
{
    bool won;

end:
    do
    :: step == 1 && memory[WAIT] == WAITING ->
        d_step {
            won = (step == 1 && memory[WAIT] == WAITING);
            if
            :: won ->
                memory[WAIT] = WOKEN;
                woken_for = 2
            :: else
            fi
        }
        if
        :: won -> ready(); break
        :: else
        fi
    od
}

proctype canceller()
{
    bool won;

    do
    :: interrupt(CANCELLER) /* for no reason */
    :: break
    od;
    if
    ::  store(CANCELLER, ENDED, 1);
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
    :: tso_flush(CHILD)
    :: tso_flush(CANCELLER)
    od
}

init {
    atomic {
        memory[LIFE] = ALIVE;
        memory[SAVED] = 1;
        run_queue!0;
        run worker(0);
        run worker(1);
        run child_end();
        run event();
        run canceller();
        run tso_memory()
    }
    timeout ->
    assert(step == 2 ||
           (step == 0 && parked && memory[LIFE] == (ALIVE | JOINED) && !memory[ENDED]));
    assert(step != 2 || released || memory[ENDED])
}
