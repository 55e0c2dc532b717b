/*
 * A group (lib/sync/group.c): places, their limit, the wait, and storage that goes with it.
 *
 * The owner starts three members with two places, and waits, in two rounds; after each the storage is
 * gone, and the next round has it as new. The first member may start another. Whoever waits for a
 * place may be interrupted, for the end of its context or for nothing. A member may fail, may not be
 * startable for want of memory, and the owner may cancel. All that races is under the guard or is
 * passed on by being readied, so plain interleaving will do; park_ready.pml and tso.h are about the rest.
 *
 * Proved: nobody touches a group whose wait has returned; when it returns no member is left; no more
 * run than there are places; no place is lost, or the wait would not return; one ready for each wait.
 *
 * mutation LOOKS_FOR_THE_WAITER_LATE: the last end looks for the waiter when it has let go of the guard
 * mutation LEFT_WITHOUT_GUARD: the wait returns when it reads zero, without the guard
 * mutation TELLS_TOO_EARLY: the place is given back while something of the member is left
 * mutation COUNTED_WHEN_STARTED: the place is taken after the member was started
 * mutation PLACE_TWICE: a place given to a starter is given back as well
 * mutation LEAVES_ITSELF_QUEUED: an interrupted starter leaves without taking itself off
 * mutation LOSES_ITS_PLACE: an interrupted starter doesn't see that it was given a place
 * mutation KEEPS_ITS_PLACE: who can't start a member does not give the place back
 * mutation SENT_AWAY_UNCLAIMED: an error readies starters whom an interruption has readied too
 */
#define LOOKS_FOR_THE_WAITER_LATE 1
#define LEFT_WITHOUT_GUARD        2
#define TELLS_TOO_EARLY           3
#define COUNTED_WHEN_STARTED      4
#define PLACE_TWICE               5
#define LEAVES_ITSELF_QUEUED      6
#define LOSES_ITS_PLACE           7
#define KEEPS_ITS_PLACE           8
#define SENT_AWAY_UNCLAIMED       9
#ifndef MUTATION
#define MUTATION 0
#endif

#define LIMIT         2
#define ROUNDS        2
#define INTERRUPTIONS 2
#define OWNER         0
#define PEOPLE        5 /* the owner, its three members, the one that the first of these starts */
#define NOBODY        PEOPLE

#define NONE        0
#define WAITING     1 /* WAIT_OBJECT */
#define WOKEN       2
#define INTERRUPTED 3

/* The group. */
bool guard, error, waiter;
byte places;
chan starters = [PEOPLE] of {byte};

/* Of each coroutine. */
byte wait[PEOPLE];
bool run_it[PEOPLE], queued[PEOPLE], granted[PEOPLE];

/* For the assertions only. */
byte round, alive, inside;
bool gone;

inline touch()
{
    assert(!gone && in_round == round)
}

inline lock()
{
    atomic {
        !guard ->
        touch();
        guard = true
    }
}

inline unlock()
{
    d_step {
        touch();
        guard = false
    }
}

inline ready(who)
{
    d_step {
        assert(!run_it[who]);
        run_it[who] = true
    }
}

/* gyre_sync_take of a starter: next = it, if it must be readied. */
inline take(gives)
{
    atomic {
        starters?next;
        queued[next] = false;
        granted[next] = gives;
        if
        :: wait[next] == WAITING -> wait[next] = WOKEN
#if MUTATION != SENT_AWAY_UNCLAIMED
        :: else -> next = NOBODY
#else
        :: wait[next] != WAITING && gives -> next = NOBODY
        :: else
#endif
        fi
    }
}

inline fail()
{
    lock();
    if
    :: !error ->
        error = true;
        do
        :: nempty(starters) ->
            take(false);
            if
            :: next != NOBODY -> ready(next) /* in the C when the guard is free */
            :: else
            fi
        :: empty(starters) -> break
        od
    :: else
    fi;
    next = NOBODY;
    unlock()
}

inline give_place()
{
    lock();
    next = NOBODY;
    if
    :: nempty(starters) ->
        take(true);
#if MUTATION == PLACE_TWICE
        places--
#endif
    :: empty(starters) ->
        assert(places > 0);
        places--;
#if MUTATION != LOOKS_FOR_THE_WAITER_LATE
        if
        :: places == 0 && waiter ->
            waiter = false;
            next = OWNER
        :: else
        fi
#endif
    fi;
#if MUTATION == LOOKS_FOR_THE_WAITER_LATE
    last = (places == 0);
    unlock();
    if
    :: last ->
        atomic {
            touch();
            if
            :: waiter -> waiter = false; next = OWNER
            :: else
            fi
        }
    :: else
    fi;
    last = false;
#else
    unlock();
#endif
    if
    :: next != NOBODY -> ready(next)
    :: else
    fi;
    next = NOBODY
}

/* In line, the guard held: got tells whether it ended with a place. */
inline await_place()
{
    d_step {
        granted[self] = false;
        queued[self] = true;
        wait[self] = WAITING
    }
    starters!self;
    unlock();
    do
    :: run_it[self] ->
        run_it[self] = false;
        if
        :: wait[self] == WOKEN ->
            wait[self] = NONE;
            got = granted[self];
            break
        :: else ->
            assert(wait[self] == INTERRUPTED);
            lock();
            wait[self] = NONE;
            if
#if MUTATION != LOSES_ITS_PLACE
            :: !queued[self] -> got = granted[self]; unlock(); break
#else
            :: !queued[self] -> unlock(); break
#endif
            :: queued[self] -> /* its context has ended */
#if MUTATION != LEAVES_ITSELF_QUEUED
                starters??eval(self);
                queued[self] = false;
#endif
                unlock();
                fail();
                break
            :: queued[self] -> /* for nothing */
                wait[self] = WAITING;
                unlock()
            fi
        fi
    od;
    granted[self] = false
}

inline go(who)
{
    lock();
    if
    :: error -> unlock()
    :: !error && places >= LIMIT -> await_place()
    :: !error && places < LIMIT ->
#if MUTATION != COUNTED_WHEN_STARTED
        places++;
#endif
        got = true;
        unlock()
    fi;
    if
    :: got ->
        got = false;
        if
        :: atomic {
            alive++;
            run member(who, in_round)
        }
#if MUTATION == COUNTED_WHEN_STARTED
            lock();
            places++;
            unlock()
#endif
        :: fail(); /* no memory for it */
#if MUTATION != KEEPS_ITS_PLACE
            give_place()
#endif
        fi
    :: else
    fi
}

proctype member(byte self; byte in_round)
{
    byte next = NOBODY;
    bool got, fails, last;

    inside++;
    assert(inside <= LIMIT);
    if
    :: self == 1 -> go(4)
    :: skip
    fi;
    if
    :: fails = true
    :: skip
    fi;
    inside--;
#if MUTATION != TELLS_TOO_EARLY
    alive--;
#endif
    if
    :: fails -> fail()
    :: else
    fi;
    give_place();
#if MUTATION == TELLS_TOO_EARLY
    alive--
#endif
}

inline await_all()
{
#if MUTATION == LEFT_WITHOUT_GUARD
    if
    :: places == 0 -> skip
    :: else ->
#endif
    lock();
    do
    :: places == 0 -> break
    :: places > 0 ->
        waiter = true;
        unlock();
        run_it[OWNER];
        run_it[OWNER] = false;
        lock()
    od;
    error = false;
    unlock()
#if MUTATION == LEFT_WITHOUT_GUARD
    fi
#endif
}

proctype owner()
{
    byte self = OWNER, next = NOBODY, in_round;
    bool got, last;

    do
    :: round < ROUNDS ->
        gone = false;
        in_round = round;
        go(1);
        go(2);
        go(3);
        if
        :: fail() /* cancels */
        :: skip
        fi;
        await_all();
        d_step {
            assert(alive == 0);
            gone = true;
            error = false;
            round++
        }
    :: else -> break
    od
}

inline interrupt(who)
{
    atomic {
        left > 0 && wait[who] == WAITING ->
        wait[who] = INTERRUPTED;
        ready(who);
        left--
    }
}

proctype interrupter()
{
    byte left = INTERRUPTIONS;

end:
    do
    :: interrupt(OWNER)
    :: interrupt(1)
    od
}

init {
    atomic {
        run owner();
        run interrupter()
    }
}
