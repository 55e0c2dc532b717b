/*
 * The mutex (lib/sync/mutex.c) on x86-TSO, in normal and in starving mode, with waiters that give
 * up, and with biased unlocking: the plain store in a restartable sequence.
 *
 * Each user locks and unlocks once or more, and drops a reference inside; whoever dropped the last
 * frees the storage as soon as its unlock has returned. One that gave up locks once more for that. Time is a choice: one that
 * waited may or may not have waited for too long, an unlock may or may not have been the last that
 * a bias takes. The queue changes under the guard alone and is not subject to the store buffers.
 * Parking and readying are park_ready.pml's: here one is asleep until it was readied, or
 * interrupted, whatever comes first.
 *
 * A sequence looks at the word and stores, in two steps. The kernel may break it off in between at
 * any time, and the membarrier does so, one thread after the other, when that thread's stores have
 * reached memory.
 *
 * Proved: one is inside at a time; everyone gets in (or gives up); nobody reads, writes, or has a
 * store under way to storage that was freed.
 *
 * mutation NO_BARRIER: the bias is ended without a membarrier
 * mutation BARRIER_WITHOUT_RESTART: a membarrier that waits for stores and breaks nothing off
 * mutation NO_SECOND_LOOK: after the membarrier, the bias is taken for ended
 * mutation ENDED_OUTSIDE: the bias is ended before the guard is taken
 * mutation PLAIN_STORE: the biased unlock is no sequence: it looks, and stores later
 * mutation STORES_THEN_LOOKS: the biased unlock stores first, and then looks for contenders
 * mutation BIASED_WAIT: one queues while the word is biased
 * mutation LETS_GO_FIRST: unlock lets go and wakes then
 * mutation READY_FIRST: who gets the mutex is readied before the guard is released
 * mutation KEEPS_WOKEN: one that was woken and queues again leaves WOKEN there
 * mutation GIVES_UP_WOKEN: one that was woken gives up because its context has ended as well
 * mutation SETTLES_LATE: one that gives up clears WAITING when it has released the guard
 * mutation NO_WAITING_LEFT: unlock clears WAITING though others are in the queue
 * mutation WAKES_TWO: one that was to hand over wakes, when starving mode is over, beside WOKEN
 */
#define NO_BARRIER              1
#define BARRIER_WITHOUT_RESTART 2
#define NO_SECOND_LOOK          3
#define ENDED_OUTSIDE           4
#define PLAIN_STORE             5
#define STORES_THEN_LOOKS       6
#define BIASED_WAIT             7
#define LETS_GO_FIRST           8
#define READY_FIRST             9
#define KEEPS_WOKEN             10
#define GIVES_UP_WOKEN          11
#define SETTLES_LATE            12
#define NO_WAITING_LEFT         13
#define WAKES_TWO               14
#ifndef MUTATION
#define MUTATION 0
#endif

#define USERS     3
#define ROUNDS    4 /* of all users */
#define THREADS   USERS
#define BUFFERED  2
#define ADDRESSES 2
#define WORD      0
#define GUARD     1
#include "tso.h"

#define LOCKED   1
#define WOKEN    2
#define WAITING  4
#define STARVING 8
#define BIASED   16

/* The queue, first to last: users from 1. */
byte queue[USERS];

#define AWAKE       0
#define ASLEEP      1
#define CLAIMED     2 /* by who took it off: it will be readied */
#define INTERRUPTED 3
byte waits[USERS];
bool queued[USERS], granted[USERS], readied[USERS];

bool in_sequence[USERS], broken_off[USERS];

/* For the assertions only. */
byte references = ROUNDS;
bool inside, freed;

#define IN_STORAGE assert(!freed)

/* In the C, the bits of WOKEN's clock and of BIASED are the same. */
#define OTHERS     (WOKEN | WAITING | STARVING)
#define DISTINCT   assert(!(memory[WORD] & BIASED) || !(memory[WORD] & OTHERS))

inline append(user)
{
    d_step {
        IN_STORAGE;
        i = 0;
        do
        :: queue[i] != 0 -> i++
        :: else -> break
        od;
        queue[i] = user + 1;
        i = 0;
        queued[user] = true;
        waits[user] = ASLEEP
    }
}

inline prepend(user)
{
    d_step {
        IN_STORAGE;
        queue[2] = queue[1];
        queue[1] = queue[0];
        queue[0] = user + 1;
        queued[user] = true;
        waits[user] = ASLEEP
    }
}

inline remove(user)
{
    i = 0;
    do
    :: queue[i] != user + 1 -> i++
    :: else -> break
    od;
    do
    :: i < USERS - 1 ->
        queue[i] = queue[i + 1];
        i++
    :: else -> break
    od;
    queue[USERS - 1] = 0;
    i = 0;
    queued[user] = false
}

inline look()
{
    d_step {
        IN_STORAGE;
        load(self, WORD, state)
    }
}

inline change(to)
{
    d_step {
        DRAINED(self) ->
        IN_STORAGE;
        compare_exchange(self, WORD, state, to, won);
        DISTINCT
    }
}

inline clear(bits)
{
    d_step {
        DRAINED(self) ->
        IN_STORAGE;
        memory[WORD] = memory[WORD] & ~(bits)
    }
}

inline take_guard()
{
    d_step {
        DRAINED(self) && memory[GUARD] == 0 ->
        IN_STORAGE;
        memory[GUARD] = 1
    }
}

inline release_guard()
{
    d_step {
        buffer[self].count < BUFFERED ->
        IN_STORAGE;
        store(self, GUARD, 0)
    }
}

/* gyre_restart_all */
inline membarrier()
{
#if MUTATION != NO_BARRIER
    DRAINED(self);
    j = 0;
    do
    :: j < USERS ->
        d_step {
            DRAINED(j) ->
#if MUTATION != BARRIER_WITHOUT_RESTART
            broken_off[j] = in_sequence[j];
#endif
            j++
        }
    :: else -> break
    od;
    j = 0
#else
    skip
#endif
}

/* Under the guard. */
inline end_bias()
{
    do
    :: state & BIASED ->
        change(state & ~BIASED);
        if
        :: won ->
            won = false;
            membarrier();
#if MUTATION == NO_SECOND_LOOK
            look();
            break
#endif
        :: else
        fi;
        look()
    :: else -> break
    od
}

#define MUST_WAIT (state & against)

/* Under the guard. waiting: it has to. */
inline take_or_wait()
{
    look();
    do
    :: true ->
#if MUTATION != BIASED_WAIT && MUTATION != ENDED_OUTSIDE
#if MUTATION == NO_SECOND_LOOK
        if
        :: !ended && (state & BIASED) && MUST_WAIT -> ended = true; end_bias()
        :: else
        fi;
#else
        if
        :: (state & BIASED) && MUST_WAIT -> end_bias()
        :: else
        fi;
#endif
#endif
        assert(!woken || (state & WOKEN));
        next = state;
        if
#if MUTATION == KEEPS_WOKEN
        :: woken && !MUST_WAIT -> next = next & ~WOKEN
#else
        :: woken -> next = next & ~WOKEN
#endif
        :: else
        fi;
        if
        :: MUST_WAIT ->
            next = next | WAITING;
            if
            :: starving -> next = next | STARVING
            :: else
            fi
        :: else ->
            next = next | LOCKED;
            if
            :: woken -> next = next & ~STARVING
            :: else
            fi
        fi;
        change(next);
        next = 0;
        if
        :: won -> won = false; break
        :: else
        fi;
        look()
    od;
    waiting = ((state & against) != 0);
    state = 0
}

/* got: it is locked. */
inline take_as_newcomer()
{
    do
    :: true ->
        look();
        if
        :: state & (LOCKED | STARVING) -> break
        :: (state & WOKEN) && !(state & (LOCKED | STARVING)) -> starving = true; break
        :: !(state & (LOCKED | STARVING)) ->
            change(state | LOCKED);
            if
            :: won -> won = false; got = true; break
            :: else
            fi
        fi
    od;
    state = 0
}

inline sleep()
{
    if
    :: readied[self] ->
        d_step {
            readied[self] = false;
            waits[self] = AWAKE
        }
    :: atomic { cancellable && waits[self] == ASLEEP -> waits[self] = INTERRUPTED }
        take_guard();
        d_step {
            IN_STORAGE;
            waits[self] = AWAKE;
            if
#if MUTATION == GIVES_UP_WOKEN
            :: !queued[self] -> failed = true
#endif
            :: queued[self] -> failed = true; remove(self)
            :: else
            fi
        }
        if
        :: failed && queue[0] == 0 ->
#if MUTATION == SETTLES_LATE
            release_guard();
#endif
            clear(WAITING | STARVING)
#if MUTATION == SETTLES_LATE
        :: failed && queue[0] != 0 -> release_guard()
        :: !failed -> release_guard()
        fi
#else
        :: else
        fi;
        release_guard()
#endif
    fi
}

/* After it: got or failed. */
inline lock_slow()
{
    against = LOCKED | STARVING;
    if
    :: starving -> against = against | WOKEN
    :: else
    fi;
    do
    :: true ->
#if MUTATION == ENDED_OUTSIDE
        look();
        end_bias();
#endif
        take_guard();
        take_or_wait();
        if
        :: !waiting -> release_guard(); got = true; break
        :: else
        fi;
        waiting = false;
        if
        :: woken -> prepend(self)
        :: else -> append(self)
        fi;
        release_guard();
        sleep();
        if
        :: failed -> break
        :: granted[self] ->
            granted[self] = false;
            clear(STARVING);
            got = true;
            break
        :: else
        fi;
        woken = true;
        against = LOCKED;
        if
        :: starving = true
        :: starving = false
        fi
    od;
    against = 0;
    woken = false
}

inline ready()
{
    fence(self); /* what readies passes on what was stored before */
    d_step {
        i = 0;
        do
        :: i < USERS ->
            if
            :: taken & (1 << i) -> readied[i] = true
            :: else
            fi;
            i++
        :: else -> break
        od;
        i = 0;
        taken = 0
    }
}

/* handed: the first in the queue has it now. */
inline hand_over_or_wake()
{
    take_guard();
    look();
    if
    :: queue[0] == 0 -> skip
#if MUTATION != WAKES_TWO
    :: queue[0] != 0 && (state & WOKEN) && !(state & STARVING) -> skip
#endif
    :: else ->
        if
        :: state & STARVING -> handed = true
        :: else ->
            d_step {
                DRAINED(self) ->
                IN_STORAGE;
                memory[WORD] = memory[WORD] | WOKEN;
                DISTINCT
            }
        fi;
        d_step {
            IN_STORAGE;
            j = queue[0] - 1;
            granted[j] = handed;
            remove(j);
            if
            :: waits[j] == ASLEEP -> waits[j] = CLAIMED; taken = taken | (1 << j)
            :: else
            fi;
            j = 0
        }
#if MUTATION == READY_FIRST
        ready();
#endif
        if
#if MUTATION == NO_WAITING_LEFT
        :: true -> clear(WAITING | STARVING)
#else
        :: queue[0] == 0 -> clear(WAITING | STARVING)
        :: else
#endif
        fi
    fi;
    release_guard()
}

inline unlock_slow()
{
    look();
    assert(state & LOCKED); /* else: unlock of unlocked mutex */
#if MUTATION == LETS_GO_FIRST
    do
    :: true ->
        change(state & ~LOCKED);
        if
        :: won -> won = false; break
        :: else -> look()
        fi
    od;
    if
    :: (state & WAITING) && ((state & STARVING) || !(state & WOKEN)) -> hand_over_or_wake()
    :: else
    fi;
#else
    do
    :: (state & WAITING) && ((state & STARVING) || !(state & WOKEN)) ->
        hand_over_or_wake();
        if
        :: handed -> break
        :: else
        fi;
        look()
    :: else ->
        change(state & ~LOCKED);
        if
        :: won -> won = false; break
        :: else
        fi;
        look()
    od;
#endif
    handed = false;
    ready()
}

/* restart_store_if; gone: it was unlocked. */
inline unlock_biased()
{
    in_sequence[self] = true;
    look();
    atomic {
        if
#if MUTATION == PLAIN_STORE
        :: state == (LOCKED | BIASED) -> store(self, WORD, BIASED); gone = true
#else
        :: state == (LOCKED | BIASED) && !broken_off[self] ->
            IN_STORAGE;
            store(self, WORD, BIASED);
            gone = true
#endif
        :: true /* broken off by something else */
        fi;
        in_sequence[self] = false;
        broken_off[self] = false
    }
}

inline release()
{
    look();
    if
#if MUTATION == STORES_THEN_LOOKS
    :: state == (LOCKED | BIASED) ->
        store(self, WORD, BIASED);
        gone = true;
        look()
#else
    :: state == (LOCKED | BIASED) -> unlock_biased()
#endif
    :: else
    fi;
    if
    :: !gone && (state & ~BIASED) == LOCKED ->
        if
        :: change(state & ~LOCKED)
        :: change((state & ~LOCKED) | BIASED)
        fi;
        gone = won;
        won = false
    :: else
    fi;
    if
    :: !gone -> unlock_slow()
    :: else
    fi;
    state = 0;
    gone = false
}

proctype user(byte self; byte rounds; bool cancellable)
{
    byte state, next, against, taken, i, j;
    bool won, got, failed, starving, woken, waiting, handed, gone, last;
#if MUTATION == NO_SECOND_LOOK
    bool ended;
#endif

    do
    :: rounds == 0 -> break
    :: else ->
        rounds--;
        take_as_newcomer();
        if
        :: !got -> lock_slow()
        :: else
        fi;
        starving = false;
        if
        :: got ->
            d_step {
                assert(!inside);
                inside = true
            }
            d_step {
                inside = false;
                references--;
                last = (references == 0)
            }
            release()
        :: else -> /* its reference is dropped inside as well */
            cancellable = false;
            rounds++
        fi;
        got = false;
        failed = false;
        if
        :: last -> /* to others it is free when its own stores are there */
            d_step { DRAINED(self) -> freed = true }
        :: else
        fi;
        last = false
    od
}

proctype tso_memory()
{
end:
    do
    :: d_step { buffer[0].count > 0 -> IN_STORAGE; tso_flush(0) }
    :: d_step { buffer[1].count > 0 -> IN_STORAGE; tso_flush(1) }
    :: d_step { buffer[2].count > 0 -> IN_STORAGE; tso_flush(2) }
    od
}

init {
    atomic {
        if
        :: memory[WORD] = BIASED
        :: memory[WORD] = 0
        fi;
        run user(0, 2, false);
        run user(1, 1, false);
        run user(2, 1, true);
        run tso_memory()
    }
    timeout ->
    assert(freed && references == 0)
}
