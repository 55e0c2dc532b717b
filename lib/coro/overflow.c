/*
 * A fault is an overflow if its address lies in a guard of the pool and the stack pointer is in the
 * same stack, or at most one stack below (a frame so large that it stepped past the guard while the
 * write hit it). A wild pointer that hits some other coroutine's guard is an ordinary crash.
 *
 * A program's own handler is called from ours instead of being put back for good: a
 * program that recovers from its faults would lose the check otherwise. Handlers that the
 * program installs after us replace us, as they should.
 */
#include "coro/overflow.h"

#include "base/panic.h"
#include "base/recover.h"
#include "base/signal.h"
#include "coro/preempt.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

enum { SIGNAL_STACK_ROOM = 32 << 10 };

static const int signals[] = {SIGSEGV, SIGBUS};

static struct stack_pool *watched;
static void (*report_overflow)(struct stack_block *block, void *fault_address);
static struct sigaction previous[ARRAY_SIZE(signals)];

static _Thread_local struct {
    char *mapping; /* NULL: the thread's own stack is used */
    size_t size;
    stack_t before;
} own;

_Thread_local sigjmp_buf *gyre_recovery;

static bool is_overflow(void *address, const ucontext_t *context, struct stack_block **block)
{
    uintptr_t at = (uintptr_t)address, sp = preempt_sp(context), low;
    size_t size;

    if (!watched || !gyre_stack_owns(watched, address, block))
        return false;
    low = (uintptr_t)(*block)->low;
    size = (size_t)1 << (*block)->shift;
    if (at >= low)
        return false;
    return sp == 0 || (sp < (uintptr_t)(*block)->top && sp > low - size);
}

static void handle(int signal, siginfo_t *info, void *context)
{
    struct sigaction *action = &previous[signal == SIGSEGV ? 0 : 1];
    struct stack_block *block;
    int saved = errno;

    if (info->si_code > 0 && gyre_recovery)
        siglongjmp(*gyre_recovery, 1);
    if (info->si_code > 0 && is_overflow(info->si_addr, context, &block)) {
        report_overflow(block, info->si_addr);
        gyre_backtrace_print(2); /* without this function and the kernel's trampoline */
        abort();
    }
    if (signal_has_handler(action)) {
        /* Not again: the fault stays unhandled. */
        if (!gyre_signal_pass_on(signal, info, context, action, __builtin_frame_address(0)))
            sigaction(signal, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
    } else if (info->si_code > 0) {
        sigaction(signal, action, NULL); /* the instruction faults again */
    } else if (action->sa_handler == SIG_DFL) {
        sigaction(signal, action, NULL); /* somebody sent it: send it again */
        raise(signal);
    }
    errno = saved;
}

int gyre_overflow_install(struct stack_pool *pool,
                          void (*report)(struct stack_block *block, void *fault_address))
{
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    sigemptyset(&action.sa_mask);
    gyre_backtrace_prepare();
    report_overflow = report;
    watched = pool;
    for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
        if (sigaction(signals[i], &action, &previous[i]) != 0) {
            int error = -errno;

            while (i-- > 0)
                sigaction(signals[i], &previous[i], NULL);
            watched = NULL;
            return error;
        }
    }
    return 0;
}

bool gyre_overflow_installed(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
        struct sigaction now;

        if (sigaction(signals[i], NULL, &now) != 0 || !(now.sa_flags & SA_SIGINFO) ||
            now.sa_sigaction != handle)
            return false;
    }
    return true;
}

void gyre_overflow_remove(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
        struct sigaction now;

        if (sigaction(signals[i], NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) &&
            now.sa_sigaction == handle)
            sigaction(signals[i], &previous[i], NULL);
    }
    watched = NULL;
}

int gyre_overflow_thread_init(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t size = (size_t)getauxval(AT_MINSIGSTKSZ);
    stack_t stack = {.ss_flags = 0}, before;
    char *mapping;

    if (size < (size_t)MINSIGSTKSZ)
        size = MINSIGSTKSZ;
    size = (size + SIGNAL_STACK_ROOM + page - 1) & ~(page - 1);
    if (sigaltstack(NULL, &before) != 0)
        return -errno;
    own.mapping = NULL;
    if (!(before.ss_flags & SS_DISABLE) && before.ss_size >= size)
        return 0;

    mapping = mmap(NULL, page + size, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_POPULATE, -1, 0);
    if (mapping == MAP_FAILED)
        return -ENOMEM;
    stack.ss_sp = mapping + page;
    stack.ss_size = size;
    if (mprotect(mapping, page, PROT_NONE) != 0 || sigaltstack(&stack, NULL) != 0) {
        int error = -errno;

        munmap(mapping, page + size);
        return error;
    }
    own.mapping = mapping;
    own.size = page + size;
    own.before = before;
    return 0;
}

bool gyre_overflow_on_signal_stack(const void *address)
{
    return own.mapping && (uintptr_t)address - (uintptr_t)own.mapping < own.size;
}

void gyre_overflow_thread_exit(void)
{
    stack_t none = {.ss_flags = SS_DISABLE}, now;
    char *mapping = own.mapping;

    if (!mapping)
        return;
    own.mapping = NULL;
    /* The program may have set another one since. */
    if (sigaltstack(NULL, &now) == 0 && (char *)now.ss_sp > mapping &&
        (char *)now.ss_sp < mapping + own.size)
        sigaltstack(own.before.ss_flags & SS_DISABLE ? &none : &own.before, NULL);
    munmap(mapping, own.size);
}
