/*
 * The initialisation of a C++ function's static variable: who comes first does it, and the others
 * wait. These three are whole, not a counting call of the C++ run-time's: that one can be out of
 * sight (loaded by dlopen for a plugin, which finds ours first nevertheless) or absent (with
 * -static-libstdc++ the linker takes ours and leaves its own out).
 *
 * The ABI fixes the first byte, by which compiled code sees that all is done. The others are as in
 * libstdc++, so that code which reaches its functions may share a variable with code that
 * reaches these: a second byte while someone initialises, a third when others sleep on the word.
 * As there, an initialiser that enters itself waits for ever.
 */
#include "preempt/count.h"

#include <linux/futex.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of C++ run-times; declared by none of our headers. */
int __cxa_guard_acquire(uint32_t *guard);
void __cxa_guard_release(uint32_t *guard);
void __cxa_guard_abort(uint32_t *guard);

static uint32_t with_byte(int index)
{
    unsigned char bytes[4] = {0};
    uint32_t word;

    bytes[index] = 1;
    memcpy(&word, bytes, sizeof word);
    return word;
}

#define DONE    with_byte(0)
#define BUSY    with_byte(1)
#define WAITING with_byte(2)

/* Whether the caller is to initialise; else it is done. */
static int acquire(uint32_t *guard)
{
    for (;;) {
        uint32_t seen = 0;

        /* Acquire, here and below: what the initialiser wrote; pairs with the release in settle. */
        if (__atomic_compare_exchange_n(guard, &seen, BUSY, 0, __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE))
            return 1;
        if (seen & DONE)
            return 0;
        if (seen == BUSY && !__atomic_compare_exchange_n(guard, &seen, BUSY | WAITING, 0,
                                                         __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            continue;
        syscall(SYS_futex, guard, FUTEX_WAIT, BUSY | WAITING, NULL);
    }
}

static void settle(uint32_t *guard, uint32_t state)
{
    if (__atomic_exchange_n(guard, state, __ATOMIC_RELEASE) & WAITING)
        syscall(SYS_futex, guard, FUTEX_WAKE, INT_MAX);
}

GYRE_API int __cxa_guard_acquire(uint32_t *guard)
{
    int begins;

    count_one();
    begins = acquire(guard);
    if (!begins)
        take_one_back();
    return begins;
}

GYRE_API void __cxa_guard_release(uint32_t *guard)
{
    settle(guard, DONE);
    take_one_back();
}

/* The initialiser threw. */
GYRE_API void __cxa_guard_abort(uint32_t *guard)
{
    settle(guard, 0);
    take_one_back();
}
