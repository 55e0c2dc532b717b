/*
 * The Chase-Lev deque (lib/sched/deque.h, deque.c) on x86-TSO: an owner that pushes and takes in
 * any order, two thieves that steal one at a time, an array that grows from one slot to four.
 *
 * Proved: each item is handed out exactly once, none is lost, no slot is read that was not written.
 *
 * mutation NO_FENCE_IN_TAKE: the owner reads top before others see the new bottom
 * mutation ARRAY_BEFORE_BOTTOM: a thief keeps an array it read before bottom
 * mutation LAST_WITHOUT_CAS: the owner takes the last item without a compare-and-swap on top
 * mutation STEAL_TWO: a thief moves top by two in one compare-and-swap
 * mutation OLD_ARRAY_REUSED: growing frees the array that thieves may still read
 * mutation BOTTOM_BEFORE_SLOT: a push publishes bottom before the item
 */
#define NO_FENCE_IN_TAKE    1
#define ARRAY_BEFORE_BOTTOM 2
#define LAST_WITHOUT_CAS    3
#define STEAL_TWO           4
#define OLD_ARRAY_REUSED    5
#define BOTTOM_BEFORE_SLOT  6
#ifndef MUTATION
#define MUTATION 0
#endif

#define ITEMS   3
#define TAKES   2 /* among the pushes; afterwards the owner takes until nothing is left */
#define THIEVES 2
#define STEALS  2 /* tries of each thief */

#define THREADS   3 /* 0: the owner */
#define BUFFERED  6
#define TOP       0
#define BOTTOM    1
#define ARRAY     2 /* 0, 1, 2: of one, two, four slots */
#define SLOTS     3
#define ADDRESSES 10
#include "tso.h"

/* Arrays lie one behind the other: 1 + 2 + 4 slots. Indices start at 1, so that 0 - 1 can't wrap. */
#define CAPACITY(array)    (1 << (array))
#define SLOT(array, index) (SLOTS + CAPACITY(array) - 1 + (index) % CAPACITY(array))

byte handed[ITEMS + 1];
byte done;

inline hand_out(item)
{
    d_step {
        assert(item >= 1 && item <= ITEMS);
        handed[item]++;
        assert(handed[item] == 1);
        item = 0
    }
}

inline push(new)
{
    load(0, BOTTOM, b);
    load(0, TOP, t);
    load(0, ARRAY, a);
    if
    :: b - t == CAPACITY(a) ->
        i = t;
        do
        :: i < b ->
            load(0, SLOT(a, i), x);
            store(0, SLOT(a + 1, i), x);
            i++
        :: else -> break
        od;
        store(0, ARRAY, a + 1);
#if MUTATION == OLD_ARRAY_REUSED
        i = t;
        do
        :: i < b ->
            store(0, SLOT(a, i), 0);
            i++
        :: else -> break
        od;
#endif
        a++
    :: else
    fi;
#if MUTATION == BOTTOM_BEFORE_SLOT
    store(0, BOTTOM, b + 1);
    store(0, SLOT(a, b), new);
#else
    store(0, SLOT(a, b), new);
    store(0, BOTTOM, b + 1);
#endif
    d_step { a = 0; b = 0; t = 0; x = 0; i = 0 }
}

/* x = the item, or 0: nothing there */
inline take()
{
    load(0, BOTTOM, b);
    b--;
    load(0, ARRAY, a);
    store(0, BOTTOM, b);
#if MUTATION != NO_FENCE_IN_TAKE
    fence(0);
#endif
    load(0, TOP, t);
    if
    :: t > b ->
        x = 0;
        store(0, BOTTOM, b + 1)
    :: t <= b ->
        load(0, SLOT(a, b), x);
        if
        :: t == b ->
#if MUTATION != LAST_WITHOUT_CAS
            compare_exchange(0, TOP, t, t + 1, won);
            if
            :: !won -> x = 0
            :: else
            fi;
            won = false;
#else
            store(0, TOP, t + 1);
#endif
            store(0, BOTTOM, b + 1)
        :: else
        fi
    fi;
    d_step { a = 0; b = 0; t = 0 }
}

active proctype owner()
{
    byte pushed, taken, a, b, t, x, i;
    bool won;

    memory[TOP] = 1;
    memory[BOTTOM] = 1;
    run thief(1);
    run thief(2);
    do
    :: pushed < ITEMS ->
        pushed++;
        push(pushed)
    :: pushed < ITEMS && taken < TAKES && pushed > 0 ->
        taken++;
        take();
        if
        :: x -> hand_out(x)
        :: else
        fi
    :: pushed == ITEMS -> break
    od;
    do
    :: take();
        if
        :: x -> hand_out(x)
        :: else -> break
        fi
    od;
    done++
}

proctype thief(byte self)
{
    byte tries, a, b, t, x, y;
    bool won;

    do
    :: tries < STEALS ->
        tries++;
#if MUTATION == ARRAY_BEFORE_BOTTOM
        load(self, ARRAY, a);
#endif
        load(self, TOP, t);
        fence(self);
        load(self, BOTTOM, b);
        if
        :: t < b ->
#if MUTATION != ARRAY_BEFORE_BOTTOM
            load(self, ARRAY, a);
#endif
            load(self, SLOT(a, t), x);
#if MUTATION == STEAL_TWO
            if
            :: t + 1 < b ->
                load(self, SLOT(a, t + 1), y);
                compare_exchange(self, TOP, t, t + 2, won);
                if
                :: won -> hand_out(y)
                :: else
                fi
            :: else ->
                compare_exchange(self, TOP, t, t + 1, won)
            fi;
#else
            compare_exchange(self, TOP, t, t + 1, won);
#endif
            if
            :: won -> hand_out(x)
            :: else
            fi;
            won = false
        :: else
        fi;
        d_step { a = 0; b = 0; t = 0; x = 0; y = 0 }
    :: else -> break
    od;
    done++
}

active proctype tso_memory()
{
end:
    do
    :: tso_flush(0)
    :: done == 1 + THIEVES && DRAINED(0) ->
        assert(handed[1] == 1 && handed[2] == 1 && handed[3] == 1);
        break
    od
}
