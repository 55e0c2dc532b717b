/*
 * Select against those who wake it (lib/sync/select.c, chan.c, lib/sched/park.h, sleeper.h).
 *
 * One coroutine selects twice in a row over two channels and a timer; two threads send one value
 * each, one a channel; a canceller may end its context; another select polls the same channels. The
 * commit of the park runs on another thread than the one that resumes the coroutine. All words
 * are under locks or are changed by compare-and-swap, which are full barriers on x86 and
 * acquire-release elsewhere, so the memory is taken to be sequentially consistent.
 *
 * Proved: no deadlock; a select that was woken has one chosen case; nobody touches a select's frame
 * (cases, timer) after it returned, the commit included; each value is received or stays in its
 * channel; nobody stays parked while a value is there or its context has ended.
 *
 * mutation WAKER_WITHOUT_CAS: a sender believes that nobody else can claim
 * mutation CLAIMED_AFTER_UNLOCK: a sender claims when it has let the channel go
 * mutation READY_BEFORE_RESULT: the coroutine is readied before its case is marked
 * mutation STAYS_LINKED: the select leaves the queues of the cases that were not chosen alone
 * variant SKIPS_LOCKS: it locks only the channels in whose queue it still believes to be, which holds
 * where that look is atomic: a case off its queue means that the commit has let its channel go
 * mutation COMMIT_LOOKS_LATE: the commit looks up what to unlock next after it unlocked
 * mutation UNSORTED: the other select takes the locks in the order of its cases
 * mutation TIMER_LEFT: the select returns without waiting for a timer that fires in vain
 * mutation POLLED_UNLOCKED: it waits on the word of a look without the locks
 * mutation HINT_BELIEVED: an interruption is taken for the end of the context
 */
#define WAKER_WITHOUT_CAS    1
#define CLAIMED_AFTER_UNLOCK 2
#define READY_BEFORE_RESULT  3
#define STAYS_LINKED         4
#define SKIPS_LOCKS          5
#define COMMIT_LOOKS_LATE    6
#define UNSORTED             7
#define TIMER_LEFT           8
#define POLLED_UNLOCKED      9
#define HINT_BELIEVED        10
#ifndef MUTATION
#define MUTATION 0
#endif

#define NONE        0
#define WAITING     1
#define WOKEN       2
#define INTERRUPTED 3

#define IDLE   0
#define QUEUED 1
#define CHOSEN 2

bool held[2];      /* the channels' locks */
byte values[2];    /* in the channels */
byte linked[2];    /* the select's frame whose case is in the queue, from 1; 0: none */
byte frame;        /* the select that exists now, 1 or 2; 0: none */
byte state[2];     /* of its cases */
bool timer_chosen;
byte wait = NONE;
bool timed;        /* the select has one */
byte timer;        /* the frame whose timer is pending; 0: none */
bool in_vain;      /* sleeper.fired */
bool ended;        /* the context */

chan parked = [1] of {byte}; /* to the commit */
chan resumed = [2] of {byte};

/* For the assertions. */
byte received;
bool over;

inline lock(i)
{
    atomic { !held[i]; held[i] = true }
}

inline unlock(i)
{
    d_step { assert(held[i]); held[i] = false }
}

inline claim(to)
{
    d_step {
        won = (wait == WAITING);
        if
        :: won -> wait = to
        :: else
        fi
    }
}

inline ready()
{
    assert(empty(resumed));
    resumed!frame
}

inline try_locked(i)
{
    if
    :: !found && values[i] ->
        d_step { values[i]--; received++; found = true }
    :: else
    fi
}

inline dequeue(i)
{
#if MUTATION == SKIPS_LOCKS
    if
    :: state[i] == QUEUED ->
        lock(i);
        if
        :: linked[i] == frame -> linked[i] = 0
        :: else
        fi;
        unlock(i)
    :: else
    fi
#elif MUTATION == STAYS_LINKED
    skip
#else
    lock(i);
    if
    :: linked[i] == frame -> linked[i] = 0
    :: else
    fi;
    unlock(i)
#endif
}

active proctype selector()
{
    byte round = 1, was;
    bool found, chosen;

    do
    :: round > 2 -> break
    :: else ->
        frame = round;
        found = false;
        chosen = false;
        timer_chosen = false;
        in_vain = false;
        do
        :: found || chosen || ended -> break
        :: else ->
#if MUTATION == POLLED_UNLOCKED
            if
            :: values[0] == 0 && values[1] == 0
            :: else
            fi;
            lock(0);
            lock(1);
#else
            lock(0);
            lock(1);
            try_locked(0);
            try_locked(1);
#endif
            if
            :: found ->
                unlock(0);
                unlock(1)
            :: else ->
                d_step {
                    linked[0] = frame; state[0] = QUEUED;
                    linked[1] = frame; state[1] = QUEUED
                }
                parked!frame;
                resumed?was;
                assert(was == frame);
                d_step { was = wait; wait = NONE }
                dequeue(0);
                dequeue(1);
                d_step {
                    chosen = (state[0] == CHOSEN) || (state[1] == CHOSEN) || timer_chosen;
                    assert((was == WOKEN) == chosen);
                    assert(!(state[0] == CHOSEN && state[1] == CHOSEN));
                    assert(!(timer_chosen && (state[0] == CHOSEN || state[1] == CHOSEN)));
                    if
                    :: chosen && !timer_chosen -> received++
                    :: else
                    fi;
                    state[0] = IDLE; state[1] = IDLE
                }
                if
                :: timer_chosen
                :: else ->
                    /* gyre_sleeper_retire */
                    if
                    :: atomic { timer == frame -> timer = 0 }
                    :: !timed
#if MUTATION != TIMER_LEFT
                    :: atomic { in_vain -> in_vain = false }
#else
                    :: timer != frame
#endif
                    fi
                fi;
#if MUTATION == HINT_BELIEVED
                if
                :: !chosen -> assert(ended)
                :: else
                fi
#endif
            fi
        od;
        frame = 0;
        round++
    od;
    over = true
}

/* commit_select, on the thread that runs the next coroutine. */
active proctype committer()
{
    byte f;
    bool won;

end:
    do
    :: parked?f ->
        if
        :: d_step { timed = true; timer = f } /* started */
        :: timed = false                      /* there is none */
        fi;
        wait = WAITING;
        assert(frame == f); /* looks up the first lock, and the second */
        unlock(0);
#if MUTATION == COMMIT_LOOKS_LATE
        unlock(1);
        assert(frame == f);
#else
        unlock(1);
#endif
        /* wait_check: the context is the runtime's, not the frame's */
        if
        :: ended ->
            claim(INTERRUPTED);
            if
            :: won -> ready()
            :: else
            fi
        :: else
        fi
    od
}

/* Fires on the worker that committed, so after the commit. */
active proctype timers()
{
    byte f;
    bool won;

end:
    do
    :: atomic { timer != 0 && !held[0] && !held[1] -> f = timer; timer = 0 }
        assert(frame == f);
        claim(WOKEN);
        if
        :: won ->
            assert(frame == f);
            timer_chosen = true;
            ready()
        :: else ->
            assert(frame == f);
            in_vain = true
        fi;
        f = 0
    od
}

proctype sender(byte i)
{
    byte f;
    bool won;

    lock(i);
    if
    :: linked[i] ->
        d_step { f = linked[i]; linked[i] = 0 }
        assert(frame == f); /* its record is read */
        if
        :: state[i] == QUEUED -> state[i] = IDLE
        :: else
        fi;
#if MUTATION == CLAIMED_AFTER_UNLOCK
        unlock(i);
#endif
#if MUTATION == WAKER_WITHOUT_CAS
        wait = WOKEN;
        won = true;
#else
        claim(WOKEN);
#endif
        if
        :: won ->
            assert(frame == f);
#if MUTATION == READY_BEFORE_RESULT
            unlock(i);
            ready();
            state[i] = CHOSEN
#else
            state[i] = CHOSEN;
#if MUTATION != CLAIMED_AFTER_UNLOCK
            unlock(i);
#endif
            ready()
#endif
        :: else ->
#if MUTATION == CLAIMED_AFTER_UNLOCK
            lock(i);
#endif
            values[i]++;
            unlock(i)
        fi
    :: else ->
        values[i]++;
        unlock(i)
    fi
}

active proctype canceller()
{
    bool won;

    /* A hint for nothing, or the end of the context. */
    if
    :: ended = true
    :: skip
    fi;
    claim(INTERRUPTED);
    if
    :: won -> ready()
    :: else
    fi
}

/* Another select over the same channels, that finds nothing. */
active proctype other()
{
#if MUTATION == UNSORTED
    lock(1);
    lock(0);
#else
    lock(0);
    lock(1);
#endif
    unlock(0);
    unlock(1)
}

init {
    atomic { run sender(0); run sender(1) }
    timeout;
    /* Two values were sent; each was received, or is still there. */
    assert(received + values[0] + values[1] == 2);
    assert(over || (!ended && !timer && values[0] + values[1] == 0))
}
