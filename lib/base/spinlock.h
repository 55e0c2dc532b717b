/*
 * A lock for a few nanoseconds of work between workers. It never enters the kernel while it
 * is free; when its holder lost its CPU, spinning gives way to sched_yield, so that more workers
 * than CPUs make progress. A coroutine must not park while it holds one.
 */
#ifndef GYRE_LIB_BASE_SPINLOCK_H
#define GYRE_LIB_BASE_SPINLOCK_H

#include "base/explore.h"
#include "base/macros.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

struct spinlock {
    atomic_bool held;
};

static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("isb" ::: "memory");
#endif
}

static inline bool spin_exchange(struct spinlock *lock)
{
    /* Acquire: pairs with the release in spin_unlock. */
    return !atomic_exchange_explicit(&lock->held, true, memory_order_acquire);
}

static inline bool spin_try_lock(struct spinlock *lock)
{
    if (!spin_exchange(lock))
        return false;
    explore_close();
    return true;
}

static inline void spin_lock(struct spinlock *lock)
{
    explore_point();
    explore_close();
    while (unlikely(!spin_exchange(lock))) {
        for (int spins = 0; atomic_load_explicit(&lock->held, memory_order_relaxed); spins++) {
            if (spins < 100)
                cpu_relax();
            else
                sched_yield();
        }
    }
}

static inline void spin_unlock(struct spinlock *lock)
{
    explore_open();
    /* Release: what was written under the lock is seen by the next spin_exchange. */
    atomic_store_explicit(&lock->held, false, memory_order_release);
}

#endif
