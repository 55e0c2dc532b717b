/*
 * The switch by ucontext: the reference, and what runs on any architecture. System calls for the
 * signal mask make it a hundred times slower than the asm ones. Unlike them it carries the
 * floating-point control words along. The mask stays the thread's, as with them: a worker's own
 * (no SIGPIPE) is not that of the thread in which a coroutine was made.
 */
#include "coro/switch.h"

#include "base/text.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

/*
 * In this frame an exception or a forced unwinding must not get lost (see switch.c), and unwinding
 * ends. Where neither processor is meant, the C library's frame under it ends it.
 */
#if defined(__x86_64__)
#define OUTERMOST() __asm__(".cfi_personality 0x1b, gyre_switch_personality; .cfi_undefined %rip")
#elif defined(__aarch64__)
#define OUTERMOST() __asm__(".cfi_personality 0x1b, gyre_switch_personality; .cfi_undefined x30")
#elif defined(__GCC_HAVE_DWARF2_CFI_ASM)
#define OUTERMOST() __asm__(".cfi_personality 0x1b, gyre_switch_personality")
#else
#define OUTERMOST() ((void)0)
#endif

struct start {
    ucontext_t context;
    void (*entry)(void *arg);
    void *arg;
};

/* makecontext passes ints only. */
CALLS_PROGRAM static void start(unsigned int high, unsigned int low)
{
    const struct start *s = (const struct start *)(((uintptr_t)high << 16 << 16) | low);

    OUTERMOST();
    s->entry(s->arg);
    abort();
}

void gyre_switch_prepare_registers(struct switch_frame *frame, void *low, void *top,
                                   void (*entry)(void *arg), void *arg)
{
    struct start *s = (struct start *)(((uintptr_t)top - sizeof *s) & ~(uintptr_t)63);

    if (getcontext(&s->context) != 0)
        abort(); /* only a bad address fails */
    s->entry = entry;
    s->arg = arg;
    s->context.uc_stack.ss_sp = low;
    s->context.uc_stack.ss_size = (size_t)((char *)s - (char *)low);
    s->context.uc_link = NULL;
    makecontext(&s->context, (void (*)(void))start, 2, (unsigned int)((uintptr_t)s >> 16 >> 16),
                (unsigned int)(uintptr_t)s);
    frame->context = &s->context;
}

void gyre_switch_registers(struct switch_frame *from, struct switch_frame *to)
{
    ucontext_t *next = to->context;
    ucontext_t here;

    /* Not filled by swapcontext, and read by ASan's. */
    here.uc_stack.ss_sp = NULL;
    here.uc_stack.ss_size = 0;
    from->context = &here;
    pthread_sigmask(SIG_SETMASK, NULL, &next->uc_sigmask);
    if (swapcontext(&here, next) != 0)
        abort();
}
