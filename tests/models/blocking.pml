/*
 * gyre_blocking (lib/io/blocking.c): two callers, one of them detached, one helper, whose context
 * may end at any moment; then the shutdown.
 *
 * Proved: each function is called at most once, and never when its caller was told that it was not;
 * each caller is made ready once for each park; no helper touches a call that its caller has left
 * with (a frame that is gone), but for the heap's copy, which is freed once; no helper sleeps for
 * ever while a call is queued; the shutdown ends.
 *
 * The lock is a model's atomic block where all of what is under it is one step, for nothing else
 * looks at these words but `wait`, which is claimed by one compare-and-swap.
 *
 * mutation SEQUENCE_LATE: a helper reads the sequence after it has let the lock go
 * mutation NO_WAKE: who queues a call wakes no helper
 * mutation NO_AWAITED: a caller that was interrupted while its function runs returns
 * mutation BLIND_READY: a helper makes the caller ready without having claimed it
 * mutation FREE_TWICE: a caller that left its call to the helper frees the copy as well
 * mutation END_SILENT: the end changes the flag without the sequence
 */
#define NONE               0
#define SEQUENCE_LATE      1
#define NO_WAKE            2
#define NO_AWAITED         3
#define BLIND_READY        4
#define FREE_TWICE         5
#define END_SILENT         6
#ifndef MUTATION
#define MUTATION NONE
#endif

#define CALLERS 2

mtype = { NEW, QUEUED, RUNNING, DONE, LEFT, GONE };
mtype = { W_NONE, W_OBJECT, W_WOKEN, W_INTERRUPTED };

mtype state[CALLERS] = NEW;
mtype wait[CALLERS] = W_NONE;
bool awaited[CALLERS], ended[CALLERS], gone[CALLERS];
byte ready[CALLERS], called[CALLERS], freed[CALLERS];
chan queue = [CALLERS] of { byte };
byte sequence, callers_left = CALLERS, pending;
bool asleep, ending, joined;

#define DETACHED(c) ((c) == 1)

/* The end of the context: an interruption finds the coroutine by its wait alone. */
proctype end_context(byte c)
{
    if
    :: true -> ended[c] = true;
        atomic {
            if
            :: wait[c] == W_OBJECT -> wait[c] = W_INTERRUPTED; ready[c]++
            :: else
            fi
        }
    :: true
    fi
}

proctype caller(byte c)
{
    bool over, wake;

    atomic { pending++; run end_context(c) }
    do
    :: over -> break
    :: else ->
        /* the commit, under the lock */
        atomic {
            if
            :: !awaited[c] -> wait[c] = W_OBJECT
            :: else
            fi;
            wake = false;
            if
            :: state[c] == NEW -> state[c] = QUEUED; queue!c; sequence++; wake = asleep
            :: else
            fi
        }
        if
        :: wake && MUTATION != NO_WAKE -> asleep = false
        :: else
        fi;
        atomic { /* wait_check */
            if
            :: !awaited[c] && ended[c] && wait[c] == W_OBJECT ->
                wait[c] = W_INTERRUPTED; ready[c]++
            :: else
            fi
        }
        atomic { ready[c] > 0 -> ready[c]--; assert(ready[c] == 0); wait[c] = W_NONE }
        /* resumed, under the lock */
        atomic {
            if
            :: state[c] == DONE -> over = true
            :: state[c] == QUEUED && ended[c] ->
                queue??eval(c); state[c] = GONE; pending--; over = true
            :: state[c] == RUNNING && ended[c] && DETACHED(c) -> state[c] = LEFT; over = true
            :: else ->
                if
                :: ended[c] && state[c] == RUNNING && MUTATION == NO_AWAITED -> over = true
                :: else -> awaited[c] = ended[c] && state[c] == RUNNING
                fi
            fi
        }
    od;
    atomic {
        if
        :: state[c] == GONE -> assert(called[c] == 0)
        :: state[c] == DONE -> assert(called[c] == 1)
        :: else
        fi;
        if
        :: state[c] != LEFT || MUTATION == FREE_TWICE -> gone[c] = true; freed[c]++
        :: else
        fi;
        assert(freed[c] <= 1);
        callers_left--
    }
}

proctype helper()
{
    byte c, seen;
    bool claimed, left, stop;

    do
    :: stop -> break
    :: else ->
        /* next_call */
        do
        :: atomic {
            len(queue) > 0 -> queue?c;
            assert(!gone[c]); state[c] = RUNNING; break
        }
        :: atomic { len(queue) == 0 && ending -> stop = true; break }
        :: atomic {
            len(queue) == 0 && !ending ->
            if
            :: MUTATION != SEQUENCE_LATE -> seen = sequence
            :: else
            fi
        };
            if
            :: MUTATION == SEQUENCE_LATE -> seen = sequence
            :: else
            fi;
            atomic { /* the futex: sleeps only while the word is what was seen */
                if
                :: sequence == seen -> asleep = true
                :: else
                fi
            };
            !asleep
        od;
        if
        :: stop -> break
        :: else
        fi;
        atomic { called[c]++; assert(called[c] == 1) }
        atomic { /* finish, under the lock */
            assert(!gone[c]);
            left = state[c] == LEFT;
            claimed = false;
            if
            :: !left ->
                state[c] = DONE;
                if
                :: awaited[c] || MUTATION == BLIND_READY -> claimed = true
                :: else ->
                    if
                    :: wait[c] == W_OBJECT -> wait[c] = W_WOKEN; claimed = true
                    :: else
                    fi
                fi
            :: else
            fi
        }
        if
        :: claimed -> atomic { ready[c]++; assert(ready[c] == 1) }
        :: left -> atomic { freed[c]++; assert(freed[c] == 1) }
        :: else
        fi;
        atomic { pending-- }
    od;
    joined = true
}

init {
    atomic { run caller(0); run caller(1); run helper() }
    callers_left == 0 && pending == 0;
    atomic {
        ending = true;
        if
        :: MUTATION != END_SILENT -> sequence++
        :: else
        fi
    }
    if
    :: MUTATION != END_SILENT -> asleep = false
    :: else
    fi;
    joined;
    assert(len(queue) == 0)
}
