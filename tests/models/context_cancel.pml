/*
 * The tree of contexts (lib/sched/context.c, scope.c): a parent ends while a child is linked,
 * while the child's scope is left, and while another thread ends the child.
 *
 * Node 0 is held by its scope and by a handle, through which a thread ends it. A coroutine makes node 1
 * under node 0 and node 2 under node 1, gives a handle of node 1 to another thread, and leaves the
 * scopes from the inside out. All shared words but the counts are guarded by locks, so memory is
 * sequentially consistent here.
 *
 * Proved: when no end is under way, all below an ended node has ended; a node is unlinked once, its count comes from 1 to 0 once
 * and never back, it is freed once, and nobody touches it afterwards.
 *
 * mutation LINKED_UNCHECKED: a child is linked without looking whether the parent has ended
 * mutation CHECKED_BEFORE_LOCK: it is looked at, but before the parent's lock is taken
 * mutation WALK_WITHOUT_REFERENCE: the walk does not hold the children that it detached
 * mutation UNLINKED_BY_LAST: a scope leaves its node linked; who drops the last reference unlinks it
 * mutation UNLINKED_UNCHECKED: leaving does not look whether the parent's end unlinked it already
 * mutation PARENT_NOT_HELD: a child does not hold its parent
 */
#define LINKED_UNCHECKED       1
#define CHECKED_BEFORE_LOCK    2
#define WALK_WITHOUT_REFERENCE 3
#define UNLINKED_BY_LAST       4
#define UNLINKED_UNCHECKED     5
#define PARENT_NOT_HELD        6
#ifndef MUTATION
#define MUTATION 0
#endif

#define NODES     3
#define NOTHING   255
#define PARENT(n) ((n) - 1)
#define CHILD(n)  ((n) + 1)

bool locked[NODES], error[NODES];
bool linked[NODES]; /* guarded by the parent's lock */
byte references[NODES];

bool shared; /* a handle of node 1 was given away */

/* For the assertions only. */
bool freed[NODES], all_ended[NODES];
byte ending, done;

inline touch(n)
{
    assert(!freed[n])
}

inline lock(n)
{
    atomic {
        !locked[n] || freed[n] -> touch(n);
        locked[n] = true
    }
}

inline unlock(n)
{
    d_step {
        touch(n);
        locked[n] = false
    }
}

inline hold(n)
{
    d_step {
        touch(n);
        assert(references[n] > 0);
        references[n]++
    }
}

/* checked: looks whether it is linked at all */
inline unlink(n, checked)
{
    if
    :: n > 0 ->
        lock(PARENT(n));
        d_step {
            touch(n);
            assert(linked[n] || checked);
            linked[n] = false
        }
        unlock(PARENT(n))
    :: else
    fi
}

/* Drops a reference of `it`, and of its parents where that was the last. */
inline release(first)
{
    it = first;
    do
    :: d_step {
            touch(it);
            assert(references[it] > 0);
            references[it]--;
            last = (references[it] == 0)
        }
        if
        :: !last -> break
        :: else
        fi;
        last = false;
        unlink(it, true);
        d_step {
            touch(it);
            assert(!linked[it]);
            freed[it] = true
        }
#if MUTATION == PARENT_NOT_HELD
        break;
#endif
        if
        :: it == 0 -> break
        :: else -> it--
        fi
    od;
    it = 0
}

/* One child a node: the walk is at most one node long. */
inline end_context(first)
{
    node = first;
    ending++;
    do
    :: next = NOTHING;
        lock(node);
        if
        :: !error[node] ->
            error[node] = true;
            if
            :: node < NODES - 1 && linked[CHILD(node)] ->
                next = CHILD(node);
                linked[next] = false;
#if MUTATION != WALK_WITHOUT_REFERENCE
                hold(next)
#endif
            :: else
            fi
        :: else
        fi;
        unlock(node);
#if MUTATION != WALK_WITHOUT_REFERENCE
        if
        :: node != first -> release(node)
        :: else
        fi;
#endif
        if
        :: next == NOTHING -> break
        :: else -> node = next
        fi
    od;
    ending--;
    node = 0;
    next = 0
}

inline create(n)
{
    references[n] = 1;
#if MUTATION != PARENT_NOT_HELD
    hold(PARENT(n));
#endif
#if MUTATION == CHECKED_BEFORE_LOCK
    ended = error[PARENT(n)];
    lock(PARENT(n));
#else
    lock(PARENT(n));
    ended = error[PARENT(n)];
#endif
    if
#if MUTATION == LINKED_UNCHECKED
    :: true -> ended = false; linked[n] = true
#else
    :: !ended -> linked[n] = true
    :: else
#endif
    fi;
    unlock(PARENT(n));
    if
    :: ended -> error[n] = true
    :: else
    fi;
    ended = false
}

inline leave(n)
{
#if MUTATION == UNLINKED_UNCHECKED
    unlink(n, false);
#elif MUTATION != UNLINKED_BY_LAST
    unlink(n, true);
#endif
    if
    :: references[n] != 1 -> end_context(n)
    :: else
    fi;
    release(n)
}

/* An end that meets another one on its way down leaves the rest to that one. */
inline check_ended()
{
    d_step {
        assert(ending || !all_ended[0] || error[1]);
        assert(ending || !(all_ended[0] || all_ended[1]) || error[2])
    }
}

proctype coroutine()
{
    byte it, node, next;
    bool last, ended;

    create(1);
    hold(1);
    shared = true;
    create(2);
    check_ended();
    leave(2);
    leave(1);
    leave(0);
    done++
}

/* Ends a node through its handle, or only lets go of it. */
proctype handle(byte mine)
{
    byte it, node, next;
    bool last;

    if
    :: mine == 1 -> shared
    :: else
    fi;
    if
    ::  end_context(mine);
        all_ended[mine] = true
    :: skip
    fi;
    release(mine);
    done++
}

init {
    atomic {
        references[0] = 2;
        run coroutine();
        run handle(0);
        run handle(1)
    }
    done == 3;
    assert(freed[0] && freed[1] && freed[2])
}
