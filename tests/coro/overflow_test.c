/* Overflows are reported, other crashes are left alone. Each case dies in a child. */
#include <criterion/criterion.h>

#include "child.h"

#include "base/message.h"
#include "coro/overflow.h"
#include "coro/switch.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>

void overflow_deep(int depth);
void overflow_in_large_frames(int depth);
void overflow_writer(char *at);

struct control {
    struct stack_block stack;
    struct switch_frame frame;
    void (*run)(void);
};

static struct stack_pool pool;
static struct stack_cache cache;
static struct switch_frame own;
static struct control *current;
static struct child child;

static void report(struct stack_block *block, void *address)
{
    char line[128];
    int n = snprintf(line, sizeof line, "overflow of %s stack, address in its guard: %d",
                     block == &current->stack ? "this" : "another",
                     (char *)address < block->low && (char *)address >= block->low - STACK_GUARD);

    gyre_message_raw(line, (size_t)n);
}

static void enter(void *arg)
{
    struct control *self = arg;

    self->run();
    gyre_switch_final(&self->frame, &own);
    abort();
}

static void set_up(void)
{
    if (gyre_stack_pool_init(&pool, 128 << 10, sizeof(struct control)) != 0 ||
        gyre_overflow_thread_init() != 0 || gyre_overflow_install(&pool, report) != 0)
        _exit(100);
    gyre_switch_adopt(&own);
}

static void run_in_coroutine(void (*fn)(void))
{
    set_up();
    for (int i = 0; i < 3; i++) /* neighbours on both sides */
        stack_acquire(&pool, &cache, 0);
    current = (struct control *)stack_acquire(&pool, &cache, 0);
    stack_acquire(&pool, &cache, 0);
    current->run = fn;
    gyre_switch_prepare(&current->frame, current->stack.low, current->stack.top, enter, current);
    gyre_switch(&own, &current->frame);
}

static volatile int deepest = 1 << 30; /* what the compiler takes for the end */

/* Not tail calls, and a frame of some size. */
__attribute__((noinline)) void overflow_deep(int depth)
{
    char space[200];

    overflow_writer(space);
    if (depth < deepest)
        overflow_deep(depth + 1);
    overflow_writer(space);
}

__attribute__((noinline)) void overflow_writer(char *at)
{
    *(volatile char *)at = 1;
    __asm__ __volatile__("" : : "r"(at) : "memory");
}

/* This file is compiled without stack-clash protection: of the frame only the far end is written.
 */
__attribute__((noinline)) void overflow_in_large_frames(int depth)
{
    char space[16 << 10];

    overflow_writer(space);
    if (depth < deepest)
        overflow_in_large_frames(depth + 1);
    overflow_writer(space);
}

static void go_deep(void)
{
    overflow_deep(0);
}

static void go_deep_in_large_frames(void)
{
    overflow_in_large_frames(0);
}

static void null_write(void)
{
    static volatile uintptr_t near_null = 16;

    *(volatile int *)near_null = 1;
}

static void overflow(void)
{
    run_in_coroutine(go_deep);
}

Test(overflow, is_reported_with_a_backtrace_and_aborts)
{
    const char *at;
    int frames = 0;

    child_run(&child, overflow);
    cr_assert_eq(child.status, -SIGABRT, "%d: %s", child.status, child.output);
    cr_assert(child_said(&child, "overflow of this stack, address in its guard: 1"), "%s",
              child.output);
    for (at = child.output; (at = strstr(at, "\n    ")); at++)
        frames++;
    cr_assert_geq(frames, 20, "%s", child.output);
}

static void large_frames(void)
{
    run_in_coroutine(go_deep_in_large_frames);
}

Test(overflow, by_frames_of_16_kib_without_clash_protection_is_reported)
{
    child_run(&child, large_frames);
    cr_assert_eq(child.status, -SIGABRT, "%d: %s", child.status, child.output);
    cr_assert(child_said(&child, "overflow of this stack, address in its guard: 1"), "%s",
              child.output);
}

#ifndef GYRE_ASAN /* whose own handler would come next */

static void crash(void)
{
    run_in_coroutine(null_write);
}

Test(overflow, null_write_still_dies_by_sigsegv)
{
    child_run(&child, crash);
    cr_assert_eq(child.status, -SIGSEGV, "%d: %s", child.status, child.output);
    cr_assert_str_eq(child.output, "");
}

static void other_guard_write(void)
{
    struct control *far_away;

    for (int i = 0; i < 5; i++)
        far_away = (struct control *)stack_acquire(&pool, &cache, 0);
    *(volatile char *)(far_away->stack.low - 100) = 1;
}

static void wild(void)
{
    run_in_coroutine(other_guard_write);
}

Test(overflow, wild_write_into_a_far_guard_is_a_plain_crash)
{
    child_run(&child, wild);
    cr_assert_eq(child.status, -SIGSEGV, "%d: %s", child.status, child.output);
    cr_assert_str_eq(child.output, "");
}

static void crash_outside(void)
{
    set_up();
    null_write();
}

Test(overflow, crash_outside_coroutines_dies_by_sigsegv)
{
    child_run(&child, crash_outside);
    cr_assert_eq(child.status, -SIGSEGV, "%d: %s", child.status, child.output);
}

static void sent(void)
{
    set_up();
    raise(SIGSEGV);
    pause();
}

Test(overflow, sent_signal_kills_too)
{
    child_run(&child, sent);
    cr_assert_eq(child.status, -SIGSEGV, "%d: %s", child.status, child.output);
}

#endif

static sigjmp_buf recovery;
static volatile sig_atomic_t recovered_from;

static void recover(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)context;
    recovered_from = info->si_addr == (void *)(uintptr_t)16;
    siglongjmp(recovery, 1);
}

static void recover_in_coroutine(void)
{
    for (volatile int i = 0; i < 3; i++) {
        recovered_from = 0;
        if (sigsetjmp(recovery, 1) == 0)
            null_write();
        if (!recovered_from)
            _exit(101);
    }
    go_deep();
}

static void with_own_handler(void)
{
    struct sigaction action = {.sa_sigaction = recover, .sa_flags = SA_SIGINFO};

    sigaction(SIGSEGV, &action, NULL);
    run_in_coroutine(recover_in_coroutine);
}

Test(overflow, program_that_recovers_keeps_its_handler_and_our_check)
{
    child_run(&child, with_own_handler);
    cr_assert_eq(child.status, -SIGABRT, "%d: %s", child.status, child.output);
    cr_assert(child_said(&child, "overflow of this stack"), "%s", child.output);
}

static void one_shot(int signal)
{
    (void)signal;
    _exit(55);
}

static void with_plain_handler(void)
{
    signal(SIGSEGV, one_shot);
    run_in_coroutine(null_write);
}

Test(overflow, plain_handler_is_called)
{
    child_run(&child, with_plain_handler);
    cr_assert_eq(child.status, 55, "%d: %s", child.status, child.output);
}

static void remove_restores(void)
{
    struct sigaction action = {.sa_handler = one_shot}, now;

    sigaction(SIGSEGV, &action, NULL);
    set_up();
    gyre_overflow_remove();
    sigaction(SIGSEGV, NULL, &now);
    if (now.sa_handler != one_shot)
        _exit(1);
    set_up();
    signal(SIGSEGV, SIG_IGN); /* the program's latest word stands */
    gyre_overflow_remove();
    sigaction(SIGSEGV, NULL, &now);
    _exit(now.sa_handler == SIG_IGN ? 0 : 2);
}

Test(overflow, remove_puts_handlers_back)
{
    child_run(&child, remove_restores);
    cr_assert_eq(child.status, 0, "%d", child.status);
}

static void *signal_stacks(void *arg)
{
    static char small[65536];
    char *large = malloc(1 << 20);
    stack_t mine = {.ss_sp = small, .ss_size = 8192 + getauxval(51 /* AT_MINSIGSTKSZ */)}, now;
    stack_t roomy = {.ss_sp = large, .ss_size = 1 << 20}, none = {.ss_flags = SS_DISABLE};

    (void)arg;
    sigaltstack(&none, NULL);
    cr_assert_eq(gyre_overflow_thread_init(), 0);
    sigaltstack(NULL, &now);
    cr_assert_geq(now.ss_size, getauxval(51) + (32 << 10));
    gyre_overflow_thread_exit();
    sigaltstack(NULL, &now);
    cr_assert(now.ss_flags & SS_DISABLE);

    cr_assert_eq(sigaltstack(&mine, NULL), 0);
    cr_assert_eq(gyre_overflow_thread_init(), 0);
    sigaltstack(NULL, &now);
    cr_assert_neq(now.ss_sp, mine.ss_sp, "too small to be used");
    gyre_overflow_thread_exit();
    sigaltstack(NULL, &now);
    cr_assert_eq(now.ss_sp, mine.ss_sp);

    cr_assert_eq(sigaltstack(&roomy, NULL), 0);
    cr_assert_eq(gyre_overflow_thread_init(), 0);
    sigaltstack(NULL, &now);
    cr_assert_eq(now.ss_sp, roomy.ss_sp, "large enough");
    gyre_overflow_thread_exit();
    sigaltstack(NULL, &now);
    cr_assert_eq(now.ss_sp, roomy.ss_sp);
    sigaltstack(&none, NULL);
    free(large);
    return NULL;
}

Test(overflow, signal_stacks_of_the_program_are_kept)
{
    pthread_t thread;

    pthread_create(&thread, NULL, signal_stacks, NULL);
    pthread_join(thread, NULL);
}

static void in_a_thread_body(void)
{
    run_in_coroutine(go_deep);
}

static void *thread_body(void *arg)
{
    in_a_thread_body();
    return arg;
}

static void in_a_thread(void)
{
    pthread_t thread;

    pthread_create(&thread, NULL, thread_body, NULL);
    pthread_join(thread, NULL);
}

Test(overflow, in_another_thread_is_reported)
{
    child_run(&child, in_a_thread);
    cr_assert_eq(child.status, -SIGABRT, "%d: %s", child.status, child.output);
    cr_assert(child_said(&child, "overflow of this stack"), "%s", child.output);
}
