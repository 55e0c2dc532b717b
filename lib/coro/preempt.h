/*
 * What preemption needs of the processor: to look at an interrupted context, and to make a call
 * happen in the middle of code that did not ask for one.
 *
 * gyre_preempt_inject changes a signal handler's context so that, when the handler returns, fn runs
 * on the interrupted stack as if it had been called between two instructions; when fn returns,
 * every register is as it was: the vector and x87 state whole (as the processor or the kernel saves
 * it, never a list written by hand), flags, control words. fn itself finds what the calling
 * convention promises: direction flag clear, an empty x87 stack, the control words that a thread
 * starts with. It may switch stacks, and return on the same thread much later. CFI is right all the
 * way, so that unwinders walk from fn through the interrupted function to the coroutine's entry.
 */
#ifndef GYRE_LIB_CORO_PREEMPT_H
#define GYRE_LIB_CORO_PREEMPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <ucontext.h>

/*
 * Sizes the saved state, and keeps the calling thread's control words: those are what fn finds, for
 * the threads that it starts begin with them. Before the first of the others; again at will, while
 * nothing can be interrupted. 0, or -ENOTSUP: not on this processor.
 */
int gyre_preempt_prepare(void);

/* How many bytes below the interrupted stack pointer an injected call takes, at most, before fn's
 * frame: the red zone, the registers, alignment. (1.2 KiB with AVX, 2.8 with AVX-512; on aarch64 a
 * signal's frame, 5 KiB and more.) */
size_t gyre_preempt_room(void);

/* Whether all state in use can be saved: not while AMX tiles or SME's ZA are live, nor in streaming
 * mode. Async-signal-safe. */
bool gyre_preempt_can_save(const ucontext_t *context);

/*
 * Only in the handler that was given context, on a signal stack: what is below the interrupted
 * stack pointer is written to. That stack must have room, and gyre_preempt_can_save be true. Where
 * the way back is rt_sigreturn (aarch64), it sets the thread's signal mask to context's.
 * Async-signal-safe.
 */
void gyre_preempt_inject(ucontext_t *context, void (*fn)(void));

static inline uintptr_t preempt_pc(const ucontext_t *context)
{
#if defined(__x86_64__)
    return (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return (uintptr_t)context->uc_mcontext.pc;
#else
    (void)context;
    return 0;
#endif
}

/* A return address that is in a register only: a leaf function's, on aarch64; 0 on x86-64. Stale
 * elsewhere. */
static inline uintptr_t preempt_link(const ucontext_t *context)
{
#if defined(__aarch64__)
    return (uintptr_t)context->uc_mcontext.regs[30];
#else
    (void)context;
    return 0;
#endif
}

static inline uintptr_t preempt_sp(const ucontext_t *context)
{
#if defined(__x86_64__)
    return (uintptr_t)context->uc_mcontext.gregs[REG_RSP];
#elif defined(__aarch64__)
    return (uintptr_t)context->uc_mcontext.sp;
#else
    (void)context;
    return 0;
#endif
}

#endif
