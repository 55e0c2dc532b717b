/*
 * A context with a timer and a watch (lib/sched/context.c, context_node.h, context_watch.c, scope.c):
 * made by a coroutine, which leaves it as a scope, cancels it as a handle, or only lets go; used by
 * another holder, who watches it from his stack and may end it; while the timer fires and the parent
 * ends.
 *
 * Words are guarded by locks, but for the count, so memory is sequentially consistent here. The wheel
 * is one step: taking a timer out is atomic, its callback comes later (timer.h).
 *
 * Proved: the timer fires at most once, and is not pending once an end is over; its reference is
 * dropped once, the node is freed once and not touched afterwards; the first reason stays; a watch
 * that was taken off or refused is never called, any other once by each end, before its stack goes.
 *
 * mutation STARTED_AFTER_LINK: the timer is started when the parent's end may have come already
 * mutation BORN_ENDED_UNLOCKED: a child of an ended parent gets its error without the lock
 * mutation TIMER_HOLDS_NOTHING: the timer has no reference
 * mutation STOP_ALWAYS_DROPS: who stops drops the reference even if the timer has fired
 * mutation STOP_NEVER_DROPS: who stops leaves it to the callback, which does not come
 * mutation PARENT_LEAVES_TIMER: the parent's end does not stop the child's timer
 * mutation WALK_WITHOUT_REFERENCE: the parent's end does not hold the child that it detached
 * mutation WATCHED_UNCHECKED: a watch is put on without looking whether the context has ended
 * mutation CALLED_WHILE_ON: the end takes a watch off after its call
 * mutation RETIRED_AT_ONCE: who finds his watch taken off does not wait for the call
 */
#define STARTED_AFTER_LINK     1
#define BORN_ENDED_UNLOCKED    2
#define TIMER_HOLDS_NOTHING    3
#define STOP_ALWAYS_DROPS      4
#define STOP_NEVER_DROPS       5
#define PARENT_LEAVES_TIMER    6
#define WALK_WITHOUT_REFERENCE 7
#define WATCHED_UNCHECKED      8
#define CALLED_WHILE_ON        9
#define RETIRED_AT_ONCE        10
#ifndef MUTATION
#define MUTATION 0
#endif

#define CANCELED 1
#define TIMEDOUT 2

byte error, references;
bool pending; /* the timer, in the wheel */
bool linked;  /* guarded by the parent's lock */
bool on;      /* the watch; guarded by the node's lock */
bool over;    /* its call */
bool locked, parent_locked, parent_error;
bool shared; /* the other holder has his handle */

/* For the assertions only. */
bool freed, gone, refused;
byte ending, done, fired, called;

inline touch()
{
    assert(!freed)
}

inline lock()
{
    atomic {
        !locked || freed -> touch();
        locked = true
    }
}

inline unlock()
{
    d_step {
        touch();
        locked = false
    }
}

inline lock_parent()
{
    atomic {
        !parent_locked -> parent_locked = true
    }
}

inline unlock_parent()
{
    parent_locked = false
}

inline unlink()
{
    lock_parent();
    d_step {
        touch();
        linked = false
    }
    unlock_parent()
}

inline release()
{
    d_step {
        touch();
        assert(references > 0);
        references--;
        last = (references == 0)
    }
    if
    :: last ->
        unlink();
        d_step {
            touch();
            freed = true
        }
    :: else
    fi;
    last = false
}

inline stop_timer()
{
    d_step {
        touch();
        stopped = pending;
        pending = false
    }
    if
#if MUTATION == STOP_ALWAYS_DROPS
    :: true ->
#elif MUTATION == STOP_NEVER_DROPS || MUTATION == TIMER_HOLDS_NOTHING
    :: false ->
#else
    :: stopped ->
#endif
        d_step {
            touch();
            assert(references > 1);
            references--
        }
    :: else
    fi;
    stopped = false
}

inline set_error(reason)
{
    d_step {
        touch();
        assert(!error);
        error = reason
    }
}

inline call_watch()
{
    d_step {
        assert(!gone && !refused);
        called++;
        assert(called == 1)
    }
    over = true
}

inline call_watches()
{
    lock();
    called_one = on;
#if MUTATION == CALLED_WHILE_ON
    unlock();
    if
    :: called_one -> call_watch(); lock(); on = false; unlock()
    :: else
    fi;
#else
    on = false;
    unlock();
    if
    :: called_one -> call_watch()
    :: else
    fi;
#endif
    called_one = false
}

inline end_node(reason, stops)
{
    ending++;
    lock();
    first = !error;
    if
    :: first -> set_error(reason)
    :: else
    fi;
    unlock();
    if
    :: first && stops -> stop_timer()
    :: else
    fi;
    if
    :: first -> call_watches()
    :: else
    fi;
    first = false;
    ending--
}

/* When no end is under way, nothing of the timer is left of one that has ended. */
inline check_ended()
{
    assert(ending || !error || !pending)
}

inline start_timer()
{
    pending = true
}

inline make()
{
#if MUTATION == TIMER_HOLDS_NOTHING
    references = 1;
#else
    references = 2;
#endif
#if MUTATION != STARTED_AFTER_LINK
    start_timer();
#endif
    lock_parent();
    ended = parent_error;
    if
    :: !ended -> linked = true
    :: else
    fi;
    unlock_parent();
#if MUTATION == STARTED_AFTER_LINK
    start_timer();
#endif
    if
#if MUTATION == BORN_ENDED_UNLOCKED
    :: ended -> set_error(CANCELED); stop_timer()
#else
    :: ended -> end_node(CANCELED, true)
#endif
    :: else
    fi;
    ended = false
}

inline leave_scope()
{
    stop_timer();
    unlink();
    if
    :: references != 1 -> end_node(CANCELED, true)
    :: else
    fi
}

proctype coroutine()
{
    bool last, stopped, first, ended, called_one;

    make();
    check_ended();
    if
    :: references++; shared = true
    :: skip
    fi;
    if
    :: leave_scope()
    :: end_node(CANCELED, true)
    :: skip
    fi;
    release();
    check_ended();
    done++
}

/* Uses the other handle, if it gets one. */
proctype holder()
{
    bool last, stopped, first, called_one, was_on;

    if
    :: shared
    :: done == 3 && !shared -> goto out /* without one */
    fi;
    lock();
#if MUTATION == WATCHED_UNCHECKED
    on = true;
#else
    refused = (error != 0);
    on = !refused;
#endif
    unlock();
    if
    :: end_node(CANCELED, true)
    :: skip
    fi;
    assert(ending || !error || refused || called);
    lock();
    was_on = on;
    on = false;
    unlock();
    if
    :: was_on || refused
#if MUTATION == RETIRED_AT_ONCE
    :: else
#else
    :: else -> over
#endif
    fi;
    d_step {
        assert(!(was_on || refused) || !called);
        gone = true
    }
    release();
    check_ended();
out:
    done++
}

proctype parent()
{
    bool last, stopped, first, called_one, held;

    lock_parent();
    parent_error = true;
    if
    :: linked ->
        linked = false;
#if MUTATION == WALK_WITHOUT_REFERENCE
        held = true;
#else
        d_step {
            touch();
            held = (references > 0);
            references = references + held
        }
#endif
    :: else
    fi;
    unlock_parent();
    if
    :: held ->
#if MUTATION == PARENT_LEAVES_TIMER
        end_node(CANCELED, false);
#else
        end_node(CANCELED, true);
#endif
        check_ended();
#if MUTATION != WALK_WITHOUT_REFERENCE
        release()
#endif
    :: else
    fi;
    done++
}

proctype wheel()
{
    bool last, stopped, first, called_one;

    if
    :: atomic { pending -> pending = false }
        fired++;
        assert(fired == 1);
        end_node(TIMEDOUT, true);
#if MUTATION != TIMER_HOLDS_NOTHING
        release()
#endif
    :: freed
    fi;
    done++
}

init {
    atomic {
        run coroutine();
        run holder();
        run parent();
        run wheel()
    }
    done == 4;
    assert(freed && !references && !pending)
}
