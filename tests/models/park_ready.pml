/*
 * Park and ready (lib/sched/park.h, worker.c: gyre_park, interrupt.c) on x86-TSO.
 *
 * Coroutine 0 waits for an object under context 0 and then, whatever came of that, for the same
 * object under context 1; coroutine 1 waits for it once, under a context that never ends. Two
 * workers run them, a thread hands values to the object, another ends the contexts or does not. A
 * coroutine resumes on either worker, also while the other is still in the commit of its park; a
 * canceller may be as late as it likes, and then hits the second wait instead of the first.
 *
 * Proved: nobody is resumed before its registers are saved; each wait is readied once; a record is
 * off the object's list when its coroutine leaves; each value goes to one waiter or stays in
 * the object; when nothing moves any more, who is still parked has a context that has not ended, is
 * on the object's list, and the object has no value.
 *
 * mutation NO_FENCE_IN_COMMIT: the context is looked at before the wait is visible
 * mutation NO_FENCE_IN_CANCEL: the wait is looked at before the end is visible
 * mutation PUBLISHED_BEFORE_SAVED: the coroutine itself publishes its wait, not the commit
 * mutation UNLOCKED_BEFORE_SAVED: the coroutine itself lets the object go
 * mutation WAKER_WITHOUT_CAS: the waker believes that nobody else can claim
 * mutation CANCELLER_WITHOUT_CAS: the canceller believes so
 * mutation CLAIMED_AFTER_UNLOCK: the waker claims the wait when it has let the object go
 * mutation STAYS_LINKED: an interrupted coroutine leaves without unlinking its record
 * mutation HINT_BELIEVED: an interruption is taken for the end of the context
 */
#define NO_FENCE_IN_COMMIT      1
#define NO_FENCE_IN_CANCEL      2
#define PUBLISHED_BEFORE_SAVED  3
#define UNLOCKED_BEFORE_SAVED   4
#define WAKER_WITHOUT_CAS       5
#define CANCELLER_WITHOUT_CAS   6
#define CLAIMED_AFTER_UNLOCK    7
#define STAYS_LINKED            8
#define HINT_BELIEVED           9
#ifndef MUTATION
#define MUTATION 0
#endif

#define VALUES 2

#define THREADS   4 /* 0, 1: workers */
#define WAKER     2
#define CANCELLER 3
#define BUFFERED  4
#define ADDRESSES 8
#define LOCK      0
#define WAIT(c)   (1 + (c))
#define SAVED(c)  (3 + (c))
#define ENDED(k)  (5 + (k)) /* k: 0, 1; 2 never ends */
#include "tso.h"

#define NONE        0
#define WAITING     1 /* WAIT_OBJECT */
#define WOKEN       2
#define INTERRUPTED 3

chan run_queue = [2] of {byte};

/* Guarded by LOCK. */
chan waiters = [2] of {byte};
byte values;

/* Each coroutine's own, carried from worker to worker by its being readied. */
byte step[2]; /* which wait: 0 and 1; 2: over */
bool resumed[2]; /* has waited already */

/* For the assertions only. */
bool parked[2];
byte handed[2], received;

#define CONTEXT(c) (step[c] + (c)) /* 0: under 0, then 1; 1: under 2 */
#define LINKED(c) (waiters??[eval(c)])

inline ready(c)
{
    d_step {
        assert(parked[c]);
        parked[c] = false;
        run_queue!c
    }
}

/* On whichever thread; the wait may be any later one: see HINT_BELIEVED. */
inline interrupt(thread, c)
{
    load(thread, WAIT(c), w);
    if
    :: w == WAITING ->
#if MUTATION == CANCELLER_WITHOUT_CAS
        store(thread, WAIT(c), INTERRUPTED);
        won = true;
#else
        compare_exchange(thread, WAIT(c), WAITING, INTERRUPTED, won);
#endif
        if
        :: won -> ready(c)
        :: else
        fi;
        won = false
    :: else
    fi;
    w = NONE
}

inline wait_finish(c)
{
    load(self, WAIT(c), w);
    store(self, WAIT(c), NONE);
    if
    :: w == WOKEN ->
        d_step {
            assert(handed[c] == 1);
            assert(!LINKED(c));
            handed[c] = 0;
            received++;
            step[c]++
        }
    :: else ->
        assert(w == INTERRUPTED);
#if MUTATION != STAYS_LINKED
        lock(self, LOCK);
        if
        :: LINKED(c) -> waiters??eval(c)
        :: else
        fi;
        unlock(self, LOCK);
#endif
#if MUTATION == HINT_BELIEVED
        load(self, ENDED(CONTEXT(c)), ended);
        assert(ended);
        ended = 0
#endif
    fi;
    w = NONE
}

/* What the next coroutine on this worker does: c may run elsewhere meanwhile. */
inline commit(c)
{
#if MUTATION != PUBLISHED_BEFORE_SAVED
    store(self, WAIT(c), WAITING);
#endif
#if MUTATION != UNLOCKED_BEFORE_SAVED
    unlock(self, LOCK);
#endif
#if MUTATION != NO_FENCE_IN_COMMIT
    fence(self);
#endif
    load(self, ENDED(context), ended);
    if
    :: ended -> interrupt(self, c)
    :: else
    fi;
    ended = 0
}

proctype worker(byte self)
{
    byte c, w, saved, ended, context;
    bool won;

end:
    do
    :: run_queue?c ->
        load(self, SAVED(c), saved);
        assert(saved);
        saved = 0;
        store(self, SAVED(c), 0);
        if
        :: resumed[c] -> wait_finish(c)
        :: else
        fi;
        do
        :: step[c] == 2 -> break
        :: else ->
            context = CONTEXT(c);
            load(self, ENDED(context), ended);
            if
            :: ended ->
                ended = 0;
                step[c]++
            :: else ->
                lock(self, LOCK);
                if
                :: values ->
                    values--;
                    unlock(self, LOCK);
                    received++;
                    step[c]++
                :: else ->
                    d_step {
                        resumed[c] = true;
                        parked[c] = true
                    }
#if MUTATION == PUBLISHED_BEFORE_SAVED
                    store(self, WAIT(c), WAITING);
#endif
                    waiters!c;
#if MUTATION == UNLOCKED_BEFORE_SAVED
                    unlock(self, LOCK);
#endif
                    store(self, SAVED(c), 1);
                    commit(c);
                    break
                fi
            fi
        od;
        c = 0;
        context = 0
    od
}

/* Hands over VALUES values. */
proctype waker()
{
    byte c, left = VALUES;
    bool won;

    do
    :: left ->
        left--;
        lock(WAKER, LOCK);
        do
        :: waiters?c ->
#if MUTATION == CLAIMED_AFTER_UNLOCK
            unlock(WAKER, LOCK);
#endif
#if MUTATION == WAKER_WITHOUT_CAS
            store(WAKER, WAIT(c), WOKEN);
            won = true;
#else
            compare_exchange(WAKER, WAIT(c), WAITING, WOKEN, won);
#endif
            if
            :: won ->
                handed[c]++;
#if MUTATION != CLAIMED_AFTER_UNLOCK
                unlock(WAKER, LOCK);
#endif
                ready(c);
                break
            :: else ->
                /* It is being interrupted: the next one's. */
#if MUTATION == CLAIMED_AFTER_UNLOCK
                lock(WAKER, LOCK)
#else
                skip
#endif
            fi
        :: empty(waiters) ->
            values++;
            unlock(WAKER, LOCK);
            break
        od;
        c = 0;
        won = false
    :: else -> break
    od
}

inline end_context(context)
{
    store(CANCELLER, ENDED(context), 1);
#if MUTATION != NO_FENCE_IN_CANCEL
    fence(CANCELLER);
#endif
    interrupt(CANCELLER, 0)
}

proctype canceller()
{
    byte w;
    bool won;

    if
    :: end_context(0)
    :: skip
    fi;
    if
    :: end_context(1)
    :: skip
    fi
}

proctype tso_memory()
{
end:
    do
    :: tso_flush(0)
    :: tso_flush(1)
    :: tso_flush(WAKER)
    :: tso_flush(CANCELLER)
    od
}

inline check(c)
{
    assert(step[c] == 2 || (parked[c] && !memory[ENDED(CONTEXT(c))] && values == 0 && LINKED(c)));
    assert(!handed[c])
}

init {
    atomic {
        step[1] = 1;
        memory[SAVED(0)] = 1;
        memory[SAVED(1)] = 1;
        run_queue!0;
        run_queue!1;
        run worker(0);
        run worker(1);
        run waker();
        run canceller();
        run tso_memory()
    }
    timeout ->
    d_step {
        check(0);
        check(1);
        assert(received + values == VALUES)
    }
}
