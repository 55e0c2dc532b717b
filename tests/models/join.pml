/*
 * Joining (lib/sched/spawn.c): a wait without a lock, on x86-TSO. The joiner's address in the
 * child's life word is what a waiter's record is elsewhere.
 *
 * A coroutine joins a child under a context that may end, and then waits for something else,
 * which must not get what was left behind. It resumes on another worker while the commit of its park
 * may still go on. Each wait may also be interrupted for no reason.
 *
 * The address goes in before the park. So the child may end before the wait is published: its
 * claim then fails, and the commit, which looks at the life word behind a full barrier, finds that.
 *
 * Proved: one ready for each wait; the join ends when child or context does; the end's claim never
 * hits the later wait; the child's memory goes back once, and nobody looks at it afterwards.
 *
 * mutation REGISTERED_IN_COMMIT: the wait is published, then the address goes in
 * mutation READY_WITHOUT_CLAIM: a commit that finds the child ended readies the joiner as it is
 * mutation NO_LOOK_AFTER_PUBLISH: the commit does not look whether the child has ended
 * mutation NO_FENCE_IN_COMMIT: it looks before the wait is visible
 * mutation NO_TAKE_BACK: an interrupted joiner leaves its address behind
 * mutation LEAVES_AT_END: an interrupted joiner leaves when the child has ended, and may claim yet
 */
#define REGISTERED_IN_COMMIT  1
#define READY_WITHOUT_CLAIM   2
#define NO_LOOK_AFTER_PUBLISH 3
#define NO_FENCE_IN_COMMIT    4
#define NO_TAKE_BACK          5
#define LEAVES_AT_END         6
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
bool parked, released, touching;
byte woken_for;

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
        assert(!released && !touching);
        released = true
    }
}

/* life = the child's word; anything, when the memory may be another coroutine's by now. */
inline look_at_child()
{
    atomic {
        load(self, LIFE, life);
        if
        :: released -> life = ALIVE
        :: released -> life = 0
        :: else
        fi
    }
}

inline register_joiner()
{
    do
    :: load(self, LIFE, life);
        if
        :: life & ALIVE ->
            assert(!(life & JOINED));
            compare_exchange(self, LIFE, life, life | JOINED, won);
            if
            :: won -> won = false; break
            :: else
            fi
        :: else -> break
        fi
    od
}

/* After an interruption; step moves on when the child has ended. */
inline take_back()
{
#if MUTATION != NO_TAKE_BACK
    do
    :: load(self, LIFE, life);
        if
        :: life & ALIVE ->
            compare_exchange(self, LIFE, life, ALIVE, won);
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

inline wait_finish()
{
    load(self, WAIT, woken);
    store(self, WAIT, NONE);
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
    woken = NONE
}

inline commit_join()
{
    store(self, WAIT, WAITING);
#if MUTATION == REGISTERED_IN_COMMIT
    register_joiner();
    if
    :: !(life & ALIVE) -> interrupt(self)
    :: else
    fi;
#endif
#if MUTATION != NO_FENCE_IN_COMMIT
    fence(self);
#endif
#if MUTATION != NO_LOOK_AFTER_PUBLISH && MUTATION != REGISTERED_IN_COMMIT
    look_at_child();
    if
#if MUTATION == READY_WITHOUT_CLAIM
    :: !(life & ALIVE) -> ready()
#else
    :: !(life & ALIVE) -> interrupt(self)
#endif
    :: else
    fi;
#endif
    life = 0;
    load(self, ENDED, ended);
    if
    :: ended -> ended = 0; interrupt(self)
    :: else
    fi
}

proctype worker(byte self)
{
    byte life, woken, saved, ended;
    bool won;

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
#if MUTATION != REGISTERED_IN_COMMIT
                register_joiner();
                if
                :: !(life & ALIVE) ->
                    life = 0;
                    release_child();
                    step = 1
                :: else ->
#else
                if
                ::
#endif
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

/* The child's commit_end, if it ends at all. */
proctype child_end()
{
    byte life;
    bool won;

    if
    ::  d_step {
            DRAINED(CHILD) ->
            life = memory[LIFE];
            memory[LIFE] = life & JOINED;
            touching = (life & JOINED)
        }
        if
        :: life & JOINED ->
            atomic {
                claim(CHILD, WOKEN);
                if
                :: won ->
                    woken_for = 1;
                    touching = false;
                :: else
                fi
            }
            if
            :: won -> ready()
            :: else ->
                d_step {
                    DRAINED(CHILD) ->
                    memory[LIFE] = 0;
                    touching = false
                }
            fi
        :: else
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

    interrupt(CANCELLER); /* for no reason */
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
    assert(step == 2 || (step == 0 && parked && memory[LIFE] == (ALIVE | JOINED) && !memory[ENDED]))
}
