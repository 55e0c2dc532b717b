/*
 * What ends the process, each in a child of its own: the exact lines, and SIGABRT. Of a backtrace
 * only the shape is checked.
 */
#include "inside.h"

#include "../coro/child.h"
#include "base/checks.h"

#include <pthread.h>
#include <stdlib.h>

/* --- the children ------------------------------------------------------------------------------
 */

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int sleep_for_ever(void *arg)
{
    (void)arg;
    return gyre_sleep(INT64_MAX);
}

static int join_twice(void *arg)
{
    gyre_handle handle;

    (void)arg;
    gyre_spawn(&handle, nothing, NULL);
    gyre_join(handle, NULL);
    return gyre_join(handle, NULL);
}

static int join_after_reuse(void *arg)
{
    gyre_handle handle, another;

    (void)arg;
    gyre_spawn(&handle, nothing, NULL);
    gyre_join(handle, NULL);
    gyre_spawn(&another, sleep_for_ever, NULL); /* in the same memory */
    return gyre_join(handle, NULL);
}

static int detach_twice(void *arg)
{
    gyre_handle handle;

    (void)arg;
    gyre_spawn(&handle, sleep_for_ever, NULL);
    gyre_detach(handle);
    gyre_detach(handle);
    return 0;
}

static int join_detached(void *arg)
{
    gyre_handle handle;

    (void)arg;
    gyre_spawn(&handle, sleep_for_ever, NULL);
    gyre_detach(handle);
    return gyre_join(handle, NULL);
}

static int join_nothing(void *arg)
{
    (void)arg;
    return gyre_join((gyre_handle){0}, NULL);
}

static gyre_handle own_handle;

static int join_self(void *arg)
{
    (void)arg;
    return gyre_join(own_handle, NULL);
}

static int start_self_joiner(void *arg)
{
    (void)arg;
    gyre_spawn_at("me.c:1\0self", &own_handle, join_self, NULL, NULL);
    return gyre_sleep(INT64_MAX);
}

static int join_given(void *arg)
{
    return gyre_join(*(gyre_handle *)arg, NULL);
}

static int join_beside_another(void *arg)
{
    gyre_handle handle;

    (void)arg;
    gyre_spawn_at("a.c:1\0sleeper", &handle, sleep_for_ever, NULL, NULL);
    gyre_go(join_given, &handle);
    gyre_sleep(10 * GYRE_MILLISECOND);
    return gyre_join(handle, NULL);
}

static int detach_beside_a_joiner(void *arg)
{
    gyre_handle handle;

    (void)arg;
    gyre_spawn_at("a.c:1\0sleeper", &handle, sleep_for_ever, NULL, NULL);
    gyre_go(join_given, &handle);
    gyre_sleep(10 * GYRE_MILLISECOND);
    gyre_detach(handle);
    return 0;
}

static int keep_scope(void *arg)
{
    (void)arg;
    (void)gyre_scope_cancellable();
    return 0;
}

static int leave_the_outer_scope(void *arg)
{
    struct gyre_scope outer = gyre_scope_cancellable(), inner = gyre_scope_cancellable();

    (void)arg;
    gyre_scope_leave(&outer);
    gyre_scope_leave(&inner);
    return 0;
}

#define ON_NULL(name, call)                                                                        \
    static int name(void *arg)                                                                     \
    {                                                                                              \
        struct gyre_context *context;                                                              \
                                                                                                   \
        (void)context;                                                                             \
        (void)arg;                                                                                 \
        (void)(call);                                                                              \
        return 0;                                                                                  \
    }

static const struct gyre_context_key context_key;
static gyre_receiver done;

ON_NULL(cancel_null, (gyre_context_cancel(NULL), 0))
ON_NULL(cancel_cause_null, (gyre_context_cancel_cause(NULL, -EPIPE), 0))
ON_NULL(hold_null, gyre_context_hold(NULL))
ON_NULL(error_of_null, gyre_context_error_of(NULL))
ON_NULL(cause_of_null, gyre_context_cause_of(NULL))
ON_NULL(deadline_of_null, gyre_context_deadline_of(NULL))
ON_NULL(value_of_null, gyre_context_value_of(NULL, &context_key))
ON_NULL(with_cancel_null, gyre_context_with_cancel(NULL, &context))
ON_NULL(with_timeout_null, gyre_context_with_timeout(NULL, 1, &context))
ON_NULL(with_deadline_null, gyre_context_with_deadline(NULL, 1, &context))
ON_NULL(with_value_null, gyre_context_with_value(NULL, &context_key, NULL, &context))
ON_NULL(without_cancel_null, gyre_context_without_cancel(NULL, &context))
ON_NULL(with_null_key, gyre_context_with_value(gyre_context_background(), NULL, NULL, &context))
ON_NULL(scope_of_null_key, gyre_scope_value(NULL, NULL))
ON_NULL(enter_null, gyre_scope_enter(NULL))
ON_NULL(done_of_null, gyre_context_done(NULL, &done))
ON_NULL(after_null, gyre_context_after(NULL, nothing, NULL, NULL))

#if !defined(__SANITIZE_ADDRESS__)

static __attribute__((noinline)) int recurse(int n)
{
    volatile char frame[1024];

    frame[0] = (char)n;
    return n ? recurse(n + 1) + frame[0] : 0;
}

static int overflow(void *arg)
{
    (void)arg;
    return recurse(1);
}

static int start_overflow(void *arg)
{
    gyre_handle handle;

    (void)arg;
    gyre_spawn_at("deep.c:7\0digger", &handle, overflow, NULL, NULL);
    return gyre_join(handle, NULL);
}

#endif

static int exit_thread(void *arg)
{
    (void)arg;
    pthread_exit(NULL);
}

static int hog(void *arg)
{
    (void)arg;
    for (;;)
        __asm__ volatile("");
    return 0;
}

static int sleep_in_shield(void *arg)
{
    (void)arg;
    GYRE_SHIELD();
    return gyre_sleep(INT64_MAX);
}

/* The hog comes last: what else its worker has to do waits behind it. */
static int start_stragglers(void *arg)
{
    (void)arg;
    gyre_go_at("pool.c:57\0shielded", sleep_in_shield, NULL);
    gyre_go(sleep_for_ever, NULL); /* this one ends */
    gyre_sleep(10 * GYRE_MILLISECOND);
    return gyre_go_at("pool.c:58\0busy", hog, NULL);
}

static int start_many_stragglers(void *arg)
{
    (void)arg;
    for (int i = 0; i < 25; i++)
        gyre_go_at("pool.c:58\0shielded", sleep_in_shield, NULL);
    return gyre_sleep(20 * GYRE_MILLISECOND);
}

static int start_straggler_and_leave(void *arg)
{
    (void)arg;
    return gyre_go_at("pool.c:59\0late", hog, NULL);
}

/* --- the parent --------------------------------------------------------------------------------
 */

static struct child child;
static gyre_fn child_main;
static int64_t child_grace = 100 * GYRE_MILLISECOND;

static void run_main(void)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;

    options.workers = 2;
    options.grace = child_grace;
    gyre_checks = false; /* a debug build's tell of leaks before */
    _exit(gyre_run_options(child_main, NULL, &options) != 0);
}

static char *next_line(char **rest)
{
    char *line = *rest, *end = strchr(line, '\n');

    if (!*line)
        return NULL;
    if (end)
        *end++ = 0;
    *rest = end ? end : line + strlen(line);
    return line;
}

/* Aborted with these lines, and then, if framed, a backtrace; and nothing else. */
static void died_with(const char *const *lines, bool framed)
{
    char *rest = child.output, *line;
    int frames = 0;

    cr_assert_eq(child.status, -SIGABRT, "status %d: %s", child.status, child.output);
    for (; *lines; lines++) {
        line = next_line(&rest);
        cr_assert_str_eq(line ? line : "(nothing)", *lines);
    }
    while ((line = next_line(&rest))) {
        cr_assert(framed && !strncmp(line, "    ", 4) && line[4] != ' ', "unexpected: %s", line);
        frames++;
    }
    cr_assert_eq(framed, frames > 0);
}

#define LINES(...) ((const char *const[]){__VA_ARGS__, NULL})

#define PANICS(name, fn, ...)                                                                      \
    Test(death, name)                                                                              \
    {                                                                                              \
        child_main = fn;                                                                           \
        child_run(&child, run_main);                                                               \
        died_with(LINES(__VA_ARGS__), true);                                                       \
    }

#define IN_MAIN "  coroutine 1 \"main\", started at gyre_run"
#define USED    "with a handle that was joined or let go before"

PANICS(joined_twice, join_twice, "gyre: panic: gyre_join " USED, IN_MAIN)
PANICS(joined_after_its_memory_was_used_again, join_after_reuse, "gyre: panic: gyre_join " USED,
       IN_MAIN)
PANICS(let_go_twice, detach_twice, "gyre: panic: gyre_detach " USED, IN_MAIN)
PANICS(joined_when_let_go, join_detached, "gyre: panic: gyre_join " USED, IN_MAIN)
PANICS(joined_a_handle_of_nothing, join_nothing, "gyre: panic: gyre_join " USED, IN_MAIN)
PANICS(joins_itself, start_self_joiner, "gyre: panic: a coroutine joins itself",
       "  coroutine 2 \"self\", started at me.c:1")
PANICS(joined_by_two, join_beside_another,
       "gyre: panic: gyre_join of coroutine 2 \"sleeper\", which another one joins", IN_MAIN)
PANICS(let_go_beside_a_joiner, detach_beside_a_joiner,
       "gyre: panic: gyre_detach of coroutine 2 \"sleeper\", which another one joins", IN_MAIN)
PANICS(ends_inside_a_scope, keep_scope,
       "gyre: panic: a coroutine ended inside a scope that it entered", IN_MAIN)
PANICS(leaves_the_outer_scope_first, leave_the_outer_scope,
       "gyre: panic: a scope was left that is not the innermost one", IN_MAIN)
#define PANICS_ON_NULL(fn, line) PANICS(context_##fn, fn, "gyre: panic: " line, IN_MAIN)

PANICS_ON_NULL(cancel_null, "gyre_context_cancel of a NULL context")
PANICS_ON_NULL(cancel_cause_null, "gyre_context_cancel_cause of a NULL context")
PANICS_ON_NULL(hold_null, "gyre_context_hold of a NULL context")
PANICS_ON_NULL(error_of_null, "gyre_context_error_of of a NULL context")
PANICS_ON_NULL(cause_of_null, "gyre_context_cause_of of a NULL context")
PANICS_ON_NULL(deadline_of_null, "gyre_context_deadline_of of a NULL context")
PANICS_ON_NULL(value_of_null, "gyre_context_value_of of a NULL context")
PANICS_ON_NULL(with_cancel_null, "gyre_context_with_cancel of a NULL context")
PANICS_ON_NULL(with_timeout_null, "gyre_context_with_timeout of a NULL context")
PANICS_ON_NULL(with_deadline_null, "gyre_context_with_deadline of a NULL context")
PANICS_ON_NULL(with_value_null, "gyre_context_with_value of a NULL context")
PANICS_ON_NULL(without_cancel_null, "gyre_context_without_cancel of a NULL context")
PANICS_ON_NULL(with_null_key, "gyre_context_with_value with a NULL key")
PANICS_ON_NULL(scope_of_null_key, "GYRE_CONTEXT_VALUE with a NULL key")
PANICS_ON_NULL(enter_null, "GYRE_WITH_CONTEXT of a NULL context")
PANICS_ON_NULL(done_of_null, "gyre_context_done of a NULL context")
PANICS_ON_NULL(after_null, "gyre_context_after of a NULL context")
PANICS(ends_its_thread, exit_thread,
       "gyre: panic: the thread was ended (pthread_exit, pthread_cancel) inside a coroutine",
       IN_MAIN)
#if !defined(__SANITIZE_ADDRESS__)
PANICS(
    overflows_its_stack, start_overflow,
    "gyre: panic: stack overflow in coroutine 2 \"digger\", its stack has 131072 bytes, started at "
    "deep.c:7")
#endif

/* --- shutdown ----------------------------------------------------------------------------------
 */

/* Stragglers are listed in the order of their numbers. What they do, behind the last comma, is a
 * glance that may find them between two waits. */
static void reported(const char *first, const char *const *others, int count, const char *last)
{
    char *rest = child.output, *line;
    int lines = 0;
    long last_number = 1;

    cr_assert_eq(child.status, -SIGABRT, "status %d: %s", child.status, child.output);
    cr_assert_str_eq(next_line(&rest), first);
    while ((line = next_line(&rest)) && (!last || strcmp(line, last))) {
        char *end, *words = strrchr(line, ',');
        long number;

        cr_assert(words && words[1] == ' ' && words[2], "%s", line);
        *words = 0;
        cr_assert_eq(strncmp(line, "  ", 2), 0);
        number = strtol(line + 2, &end, 10);
        cr_assert(number > last_number);
        last_number = number;
        cr_assert(!strcmp(end, others[0]) || !strcmp(end, others[1]), "unexpected: %s", line);
        lines++;
    }
    cr_assert_eq(lines, count);
    cr_assert_eq(!line, !last);
    cr_assert_null(next_line(&rest));
}

Test(death, stragglers_are_reported)
{
    static const char *const others[] = {" \"shielded\", started at pool.c:57",
                                         " \"busy\", started at pool.c:58"};

    child_main = start_stragglers;
    child_run(&child, run_main);
    reported("gyre: shutdown: 2 coroutines did not end within the grace of 100 ms:", others, 2,
             NULL);
}

Test(death, many_stragglers_are_cut_short)
{
    static const char *const others[] = {" \"shielded\", started at pool.c:58", ""};

    child_main = start_many_stragglers;
    child_run(&child, run_main);
    reported("gyre: shutdown: 25 coroutines did not end within the grace of 100 ms:", others, 20,
             "  and 5 more");
}

Test(death, without_grace_nobody_is_awaited)
{
    static const char *const others[] = {" \"late\", started at pool.c:59", ""};

    child_main = start_straggler_and_leave;
    child_grace = -1;
    child_run(&child, run_main);
    reported("gyre: shutdown: 1 coroutine did not end within the grace of 0 ms:", others, 1, NULL);
}

/* --- outside -----------------------------------------------------------------------------------
 */

static void call_timeout(void)
{
    GYRE_TIMEOUT(1);
}

static void call_shield(void)
{
    GYRE_SHIELD();
}

static void outside(int number)
{
    static struct gyre_local key;

    switch (number) {
    case 0:
        gyre_go(nothing, NULL);
        break;
    case 1:
        gyre_go_copy(nothing, "", 1);
        break;
    case 2:
        gyre_spawn(&own_handle, nothing, NULL);
        break;
    case 3:
        gyre_join(own_handle, NULL);
        break;
    case 4:
        gyre_detach(own_handle);
        break;
    case 5:
        gyre_yield();
        break;
    case 6:
        gyre_sleep(1);
        break;
    case 7:
        gyre_coro_count();
        break;
    case 8:
        gyre_coro_set_name("x");
        break;
    case 9:
        gyre_runtime_current();
        break;
    case 10:
        gyre_worker_index();
        break;
    case 11:
        gyre_context_error();
        break;
    case 12:
        gyre_context_current();
        break;
    case 13:
        call_timeout();
        break;
    case 14:
        call_shield();
        break;
    case 15:
        gyre_local_set(&key, &key);
        break;
    case 16:
        gyre_stack_used();
        break;
    }
}

static int outside_number;

static void run_outside(void)
{
    outside(outside_number);
}

static void *thread_outside(void *arg)
{
    run_outside();
    return arg;
}

/* A thread of the program beside a running runtime is outside too. */
static int run_on_thread(void *arg)
{
    pthread_t thread;

    (void)arg;
    pthread_create(&thread, NULL, thread_outside, NULL);
    return pthread_join(thread, NULL);
}

Test(death, calls_outside_a_coroutine)
{
    static const char *const names[] = {
        "gyre_go",
        "gyre_go_copy",
        "gyre_spawn",
        "gyre_join",
        "gyre_detach",
        "gyre_yield",
        "gyre_sleep",
        "gyre_coro_count",
        "gyre_coro_set_name",
        "gyre_runtime_current",
        "gyre_worker_index",
        "gyre_context_error",
        "gyre_context_current",
        "GYRE_TIMEOUT",
        "GYRE_SHIELD",
        "gyre_local_set",
        "gyre_stack_used",
    };
    char line[100];

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(line, sizeof line, "gyre: panic: %s called outside a coroutine", names[i]);
        outside_number = (int)i;
        child_run(&child, run_outside);
        died_with(LINES(line), true);
        child_main = run_on_thread;
        child_run(&child, run_main);
        died_with(LINES(line), true);
    }
}

static struct gyre_runtime *stale;

static int note_runtime(void *arg)
{
    (void)arg;
    stale = gyre_runtime_current();
    return 0;
}

static void spawn_into_stale(void)
{
    gyre_run(note_runtime, NULL);
    gyre_runtime_go(stale, nothing, NULL);
}

Test(death, spawning_into_a_runtime_that_is_over)
{
    child_run(&child, spawn_into_stale);
    died_with(LINES("gyre: panic: gyre_runtime_go with a runtime that does not run"), true);
}

static void count_in_stale(void)
{
    gyre_run(note_runtime, NULL);
    gyre_runtime_coro_count(stale);
}

Test(death, counting_in_a_runtime_that_is_over)
{
    child_run(&child, count_in_stale);
    died_with(LINES("gyre: panic: gyre_runtime_coro_count with a runtime that does not run"), true);
}

static int release_twice(void *arg)
{
    struct gyre_context *context;

    (void)arg;
    gyre_context_with_cancel(gyre_context_background(), &context);
    gyre_context_release(context);
    gyre_context_release(context);
    return 0;
}

PANICS(releasing_a_context_once_too_often, release_twice,
       "gyre: panic: gyre_context_release of a context that nobody holds", IN_MAIN)

/* A crash of another kind keeps its signal, and the library says nothing. */
static int crash(void *arg)
{
    return *(volatile int *)arg;
}

Test(death, an_ordinary_crash_stays_one)
{
    child_main = crash;
    child_run(&child, run_main);
#if !defined(__SANITIZE_ADDRESS__)
    cr_assert_eq(child.status, -SIGSEGV);
    cr_assert_str_eq(child.output, "");
#endif
}
