/*
 * Switching stacks: the only thing a coroutine needs from the architecture.
 *
 * gyre_switch saves what the calling convention says a function keeps, on the stack it leaves,
 * and continues where the other frame was left. It saves neither the signal mask nor the
 * floating-point control words (coro/fpu.h has those, for who asks), nor anything thread-local:
 * after it returns the caller may be on another thread.
 *
 * Invariants: a frame is filled by gyre_switch_prepare or by being the `from` of a switch, and used
 * up by being the `to` of one. Two threads may hand a frame over only with a release after the
 * switch away from it and an acquire before the switch to it: that is the scheduler's part (a
 * coroutine is made runnable by whoever runs after it, never by itself).
 *
 * A coroutine's outermost frame has an undefined return address, so every unwinder ends there, and
 * a personality routine that turns an exception (or pthread_exit) that gets so far into a panic.
 *
 * Backends: asm for x86-64 and aarch64; ucontext, the reference, for everything else. With
 * ucontext the saved registers live on the stack that is left (a ucontext_t is 1 KiB on x86-64 and
 * 4.5 KiB on aarch64, too much for a control block).
 */
#ifndef GYRE_LIB_CORO_SWITCH_H
#define GYRE_LIB_CORO_SWITCH_H

#include "base/macros.h"

#include <stddef.h>
#include <stdint.h>

#if !defined(GYRE_SWITCH_UCONTEXT) && !defined(__x86_64__) && !defined(__aarch64__)
#define GYRE_SWITCH_UCONTEXT 1
#endif

struct switch_frame {
    void *sp; /* ucontext: the ucontext_t, itself on the stack that was left */
#if defined(GYRE_ASAN) || defined(GYRE_TSAN)
    void (*entry)(void *arg);
    void *arg;
    const void *low; /* ASan: bounds of the stack */
    size_t size;
    void *fake_stack; /* ASan: of a frame that is not running */
    void *fiber;      /* TSan: NULL for none */
#endif
};

/* The bare switch, without telling a sanitizer. */
void gyre_switch_registers(struct switch_frame *from, struct switch_frame *to);

/* Where a fresh asm frame starts; not callable. */
void gyre_switch_start(void);

#ifdef GYRE_SWITCH_UCONTEXT

void gyre_switch_prepare_registers(struct switch_frame *frame, void *low, void *top,
                                   void (*entry)(void *arg), void *arg);

#else

/* Writes the frame that gyre_switch_registers would have left, about to return to
 * gyre_switch_start; that one finds entry and arg in two registers. */
static inline void gyre_switch_prepare_registers(struct switch_frame *frame, void *low, void *top,
                                                 void (*entry)(void *arg), void *arg)
{
    uint64_t *sp = (uint64_t *)((uintptr_t)top & ~(uintptr_t)15);

    (void)low;
#if defined(__x86_64__)
    sp -= 8;
    sp[7] = 0; /* the caller that isn't there, for walkers that don't read CFI */
    sp[6] = (uint64_t)(uintptr_t)gyre_switch_start;
    sp[5] = 0; /* rbp: ends a chain of frame pointers */
    sp[3] = (uint64_t)(uintptr_t)entry;
    sp[2] = (uint64_t)(uintptr_t)arg; /* r12, r13; the others may hold anything */
#else
    sp -= 20;
    sp[0] = (uint64_t)(uintptr_t)entry; /* x19, x20 */
    sp[1] = (uint64_t)(uintptr_t)arg;
    sp[10] = 0; /* x29 */
    sp[11] = (uint64_t)(uintptr_t)gyre_switch_start;
#endif
    frame->sp = sp;
}

#endif

#if defined(GYRE_ASAN) || defined(GYRE_TSAN)

void gyre_switch_prepare(struct switch_frame *frame, void *low, void *top, void (*entry)(void *arg),
                         void *arg);
void gyre_switch(struct switch_frame *from, struct switch_frame *to);
void gyre_switch_final(struct switch_frame *from, struct switch_frame *to);
void gyre_switch_adopt(struct switch_frame *frame);
void gyre_switch_release(struct switch_frame *frame);

#else

/*
 * Lets entry(arg) start on the stack [low, top) at the first switch to the frame. entry must not
 * return. The frame may be one that a finished coroutine used.
 */
static inline void gyre_switch_prepare(struct switch_frame *frame, void *low, void *top,
                                       void (*entry)(void *arg), void *arg)
{
    gyre_switch_prepare_registers(frame, low, top, entry, arg);
}

/* Leaves `from`, continues `to`; returns when someone switches to `from`. */
static inline void gyre_switch(struct switch_frame *from, struct switch_frame *to)
{
    gyre_switch_registers(from, to);
}

/* The same for who never comes back; does not return. Its stack is free once `to` runs. */
static inline void gyre_switch_final(struct switch_frame *from, struct switch_frame *to)
{
    gyre_switch_registers(from, to);
}

/* Makes the frame stand for the calling thread's own stack, before it is first a `from`. */
static inline void gyre_switch_adopt(struct switch_frame *frame)
{
    frame->sp = NULL;
}

/* To be called for the frame of a finished coroutine, from another stack, once. */
static inline void gyre_switch_release(struct switch_frame *frame)
{
    (void)frame;
}

#endif
#endif
