/*
 * How libgyre-preempt, which counts locks, and libgyre, which has the coroutines, find each other.
 * They do not link to each other: the program may have libgyre inside, and libgyre-preempt is then
 * still a shared object. libgyre looks the symbol gyre_preempt_interposed up when a runtime starts,
 * and puts its two functions there; where it is missing, locks are not counted.
 */
#ifndef GYRE_LIB_BASE_INTERPOSED_H
#define GYRE_LIB_BASE_INTERPOSED_H

/* The functions may be called from any thread, handlers included; they do nothing outside a
 * coroutine. */
struct gyre_preempt_interposed {
    unsigned version; /* 1 */
    /* Before a lock is taken (also one that then fails, which releases it again), after it was
     * released. NULL: no runtime. Atomic: set and cleared while other threads lock. */
    _Atomic(void (*)(void)) acquired;
    _Atomic(void (*)(void)) released;
    /* The address that a call of pthread_mutex_lock reaches when this library is in place: libgyre
     * compares it with what the dynamic linker finds. */
    void *lock_function;
};

#endif
