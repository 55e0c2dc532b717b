/*
 * Closing a channel against those who wait, come, and give up (lib/sync/chan.c).
 *
 * A channel with room for one. A receiver receives until it is told that the channel is closed, or its
 * context ends; a sender sends twice, with a channel that may be closed under it; a closer closes
 * it; a canceller interrupts the receiver. The commit of the receiver's park runs in
 * another thread. Sequentially consistent, as select.pml.
 *
 * Proved: no waiter stays parked on a closed channel; what was sent is received before the close is
 * told, or is left inside when the receiver gave up; who waits in a send learns of the close;
 * exactly one of value, close and interruption ends a wait.
 *
 * mutation CLOSED_UNLOCKED: the mark is set without the lock, after the waiters were woken
 * mutation WAKES_ONE: the close wakes the first waiter of each queue only when both have one
 * mutation CLOSE_WITHOUT_CAS: the closer believes that nobody else can claim
 * mutation CLOSED_FIRST: a receiver looks at the mark before the buffer
 * mutation SENDER_FORGOTTEN: the close does not wake senders
 * mutation READY_BEFORE_RESULT: a waiter is readied before it has its result
 */
#define CLOSED_UNLOCKED     1
#define WAKES_ONE           2
#define CLOSE_WITHOUT_CAS   3
#define CLOSED_FIRST        4
#define SENDER_FORGOTTEN    5
#define READY_BEFORE_RESULT 6
#ifndef MUTATION
#define MUTATION 0
#endif

#define NONE        0
#define WAITING     1
#define WOKEN       2
#define INTERRUPTED 3

#define R 0 /* the receiver */
#define S 1 /* the sender */

#define UNSET  0
#define VALUE  1 /* received, or sent */
#define CLOSED 2

bool held, closed, ended;
byte count; /* in the buffer, of one */
bool queued[2];
byte wait[2], result[2];
chan parked = [2] of {byte};
chan resumed_receiver = [2] of {byte};
chan resumed_sender = [2] of {byte};

byte sent, received;
bool told_receiver, told_sender, left;

inline lock()
{
    atomic { !held; held = true }
}

inline unlock()
{
    d_step { assert(held); held = false }
}

inline ready(who)
{
    if
    :: who == R -> assert(empty(resumed_receiver)); resumed_receiver!0
    :: else -> assert(empty(resumed_sender)); resumed_sender!0
    fi
}

inline claim(who, to)
{
    d_step {
        won = (wait[who] == WAITING);
        if
        :: won -> wait[who] = to
        :: else
        fi
    }
}

/* Under the lock, who off its queue: gives it a result if it can be claimed. */
inline complete(who, what)
{
    queued[who] = false;
    claim(who, WOKEN);
    if
    :: won -> result[who] = what
    :: else
    fi
}

active proctype committer()
{
    byte who;
    bool won;

end:
    do
    :: parked?who ->
        wait[who] = WAITING;
        unlock();
        if
        :: who == R && ended ->
            claim(R, INTERRUPTED);
            if
            :: won -> ready(R)
            :: else
            fi
        :: else
        fi
    od
}

active proctype receiver()
{
    bool won, done;
    byte was, got;

    do
    :: told_receiver || left -> break
    :: ended -> left = true
    :: else ->
        lock();
        got = UNSET;
        done = false;
#if MUTATION == CLOSED_FIRST
        if
        :: closed -> got = CLOSED
        :: else
        fi;
#endif
        if
        :: got == UNSET && queued[S] ->
            /* The buffer is full: its first comes out, the sender's goes in. */
            complete(S, VALUE);
            got = VALUE;
            if
            :: won ->
                sent++;
                unlock();
                ready(S);
                done = true
            :: else -> count--
            fi
        :: got == UNSET && !queued[S] && count -> count--; got = VALUE
        :: got == UNSET && !queued[S] && !count && closed -> got = CLOSED
        :: got == UNSET && !queued[S] && !count && !closed ->
            d_step { queued[R] = true; result[R] = UNSET }
            parked!R;
            resumed_receiver?0;
            d_step { was = wait[R]; wait[R] = NONE; got = result[R] }
            assert((was == WOKEN) == (got != UNSET));
            if
            :: was == INTERRUPTED ->
                lock();
                queued[R] = false;
                unlock()
            :: else
            fi;
            done = true
        :: got != UNSET
        fi;
        if
        :: done
        :: else -> unlock()
        fi;
        if
        :: got == VALUE -> received++
        :: got == CLOSED -> told_receiver = true; assert(count == 0)
        :: else
        fi
    od
}

active proctype sender()
{
    bool won;
    byte left_to_send = 2, was;

    do
    :: left_to_send == 0 || told_sender -> break
    :: else ->
        lock();
        if
        :: closed -> told_sender = true; unlock()
        :: !closed && queued[R] ->
            complete(R, VALUE);
            if
            :: won ->
                sent++;
                left_to_send--;
#if MUTATION == READY_BEFORE_RESULT
                result[R] = UNSET;
                unlock();
                ready(R);
                result[R] = VALUE
#else
                unlock();
                ready(R)
#endif
            :: else -> unlock()
            fi
        :: !closed && !queued[R] && count == 0 ->
            count = 1;
            sent++;
            left_to_send--;
            unlock()
        :: !closed && !queued[R] && count == 1 ->
            d_step { queued[S] = true; result[S] = UNSET }
            parked!S;
            resumed_sender?0;
            d_step { was = wait[S]; wait[S] = NONE }
            assert(was == WOKEN && result[S] != UNSET);
            if
            :: result[S] == VALUE -> left_to_send--
            :: else -> told_sender = true
            fi
        fi
    od
}

active proctype closer()
{
    bool won, woken[2];

    lock();
#if MUTATION != CLOSED_UNLOCKED
    closed = true;
#endif
    if
    :: queued[R] ->
#if MUTATION == CLOSE_WITHOUT_CAS
        d_step { queued[R] = false; wait[R] = WOKEN; result[R] = CLOSED; won = true }
#else
        complete(R, CLOSED);
#endif
        woken[R] = won
    :: else
    fi;
#if MUTATION != SENDER_FORGOTTEN
    if
#if MUTATION == WAKES_ONE
    :: queued[S] && queued[R] ->
#else
    :: queued[S] ->
#endif
        complete(S, CLOSED);
        woken[S] = won
    :: else
    fi;
#endif
    unlock();
    if
    :: woken[R] -> ready(R)
    :: else
    fi;
    if
    :: woken[S] -> ready(S)
    :: else
    fi;
#if MUTATION == CLOSED_UNLOCKED
    closed = true
#endif
}

active proctype canceller()
{
    bool won;

    if
    :: ended = true
    :: skip
    fi;
    claim(R, INTERRUPTED);
    if
    :: won -> ready(R)
    :: else
    fi
}

init {
    timeout;
    assert(told_receiver || left);
    assert(!queued[R]);
    assert(!queued[S]);
    assert(sent == received + count);
    assert(!told_receiver || count == 0)
}
