/*
 * A timer on the stack of a coroutine that parks (lib/sched/sleeper.h, sleep.c; lib/sync/select.c), fired
 * by any worker: the one that the coroutine parks on may be taken for stuck in the middle of the
 * commit, and others then fire its timers.
 *
 * The coroutine parks, and again when it was interrupted without reason. Somebody interrupts it a few
 * times, and then its context ends. Once interrupted it may go on elsewhere while the commit is not
 * over. The wheel is one step: taking a timer out is atomic, its callback comes later (timer.h).
 * Words and locked instructions only, so memory is sequentially consistent here.
 *
 * Proved: the coroutine is made ready once for each park; it returns when its timer is due, even if
 * nobody interrupts it, and when its context has ended, though the timer is not due; nobody touches its
 * stack after it has returned.
 *
 * mutation EARLY_IS_IN_VAIN: a timer that finds the wait not published has fired in vain
 * mutation NONE_BEFORE_RETIRED: the coroutine ends its wait, then retires the timer
 * mutation STARTED_AFTER_PUBLISHED: the timer is started when the wait can be interrupted
 * mutation RETIRED_AT_ONCE: who finds his timer taken out does not wait for its callback
 * mutation CLAIMED_BLINDLY: the timer claims without a compare-and-swap
 */
#define EARLY_IS_IN_VAIN        1
#define NONE_BEFORE_RETIRED     2
#define STARTED_AFTER_PUBLISHED 3
#define RETIRED_AT_ONCE         4
#define CLAIMED_BLINDLY         5
#ifndef MUTATION
#define MUTATION 0
#endif

#define INTERRUPTIONS 2
#define CALLBACKS     2 /* workers that fire timers */

#define NONE        0
#define OBJECT      1
#define WOKEN       2
#define INTERRUPTED 3

byte wait, ready, commits; /* commits: asked for */
bool pending, fired, ended;
bool due; /* or in the far future */

/* For the assertions only. */
bool gone, returned;

inline make_ready()
{
    d_step {
        ready++;
        assert(ready == 1)
    }
}

inline start()
{
    d_step {
        assert(!gone);
        pending = true
    }
}

/* By the worker: whatever runs there next. */
proctype commit()
{
    bool claimed;

end:
    do
    :: commits > 0 ->
        commits--;
#if MUTATION == STARTED_AFTER_PUBLISHED
        wait = OBJECT;
        start()
#else
        start();
        wait = OBJECT;
#endif
        d_step { /* wait_check */
            claimed = (ended && wait == OBJECT);
            if
            :: claimed -> wait = INTERRUPTED
            :: else
            fi
        }
        if
        :: claimed -> make_ready()
        :: else
        fi;
        claimed = false
    od
}

proctype fires()
{
    byte seen;

end:
    do
    :: d_step { due && pending -> pending = false };
        do
        :: true ->
            d_step {
                assert(!gone);
                seen = wait;
                if
                :: seen == OBJECT -> wait = WOKEN
                :: else
                fi
            }
            if
#if MUTATION == CLAIMED_BLINDLY
            :: seen != WOKEN ->
                wait = WOKEN;
#else
            :: seen == OBJECT ->
#endif
                assert(!gone); /* sleeper->woken */
                make_ready();
                break
#if MUTATION == EARLY_IS_IN_VAIN
            :: seen != OBJECT ->
#elif MUTATION == CLAIMED_BLINDLY
            :: seen == WOKEN ->
#else
            :: seen != OBJECT && seen != NONE ->
#endif
                d_step {
                    assert(!gone);
                    fired = true
                };
                break
#if MUTATION != EARLY_IS_IN_VAIN && MUTATION != CLAIMED_BLINDLY
            :: seen == NONE -> wait != NONE /* spins */
#endif
            fi
        od;
        seen = 0
    od
}

inline retire()
{
    d_step {
        stopped = pending;
        pending = false
    }
    if
    :: !stopped ->
#if MUTATION != RETIRED_AT_ONCE
        fired;
#endif
        fired = false
    :: else
    fi;
    stopped = false
}

proctype coroutine()
{
    bool woken, stopped;

    do
    :: commits++; /* parks */
end_parked:
        d_step { ready > 0 -> ready-- };
        woken = (wait == WOKEN);
#if MUTATION == NONE_BEFORE_RETIRED
        wait = NONE;
#endif
        if
        :: !woken -> retire()
        :: else
        fi;
        wait = NONE;
        if
        :: woken || ended -> break
        :: else
        fi
    od;
    gone = true;
    returned = true
}

proctype interrupts()
{
    byte count;
    bool claimed;

    do
    :: count < INTERRUPTIONS ->
        count++;
        if
        :: count == INTERRUPTIONS -> ended = true
        :: skip
        fi;
        d_step {
            claimed = (wait == OBJECT);
            if
            :: claimed -> wait = INTERRUPTED
            :: else
            fi
        }
        if
        :: claimed -> make_ready()
        :: else
        fi;
        claimed = false
    :: break
    od
}

init {
    byte i;

    atomic {
        if
        :: due = true
        :: skip
        fi;
        run coroutine();
        run commit();
        do
        :: i < CALLBACKS ->
            run fires();
            i++
        :: else -> break
        od;
        run interrupts()
    }
    timeout -> assert(returned || (!due && !ended))
}
