/*
 * For unit tests whose body runs in a coroutine: INSIDE(suite, name) is a Criterion test that runs
 * its body under gyre_run with 1, 2 and 5 workers, and then wants no expectation failed. An
 * expectation that fails only counts: Criterion's own would jump off the coroutine's stack.
 */
#ifndef GYRE_TESTS_SCHED_INSIDE_H
#define GYRE_TESTS_SCHED_INSIDE_H

#include <gyre.h>

#include <criterion/criterion.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static atomic_int failed_expectations;

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            atomic_fetch_add(&failed_expectations, 1);                                             \
        }                                                                                          \
    } while (0)

#define EXPECT_EQ(value, wanted)                                                                   \
    do {                                                                                           \
        long long got_ = (long long)(value), wanted_ = (long long)(wanted);                        \
        if (got_ != wanted_) {                                                                     \
            fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #value, got_,     \
                    wanted_);                                                                      \
            atomic_fetch_add(&failed_expectations, 1);                                             \
        }                                                                                          \
    } while (0)

static inline int run_with_workers(unsigned workers, gyre_fn fn, void *arg)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;

    options.workers = workers;
    return gyre_run_options(fn, arg, &options);
}

static inline void run_on_each(gyre_fn fn)
{
    static const unsigned workers[] = {1, 2, 5};

    for (size_t i = 0; i < sizeof workers / sizeof *workers; i++) {
        cr_assert_eq(run_with_workers(workers[i], fn, NULL), 0, "with %u workers", workers[i]);
        cr_assert_eq(failed_expectations, 0, "with %u workers", workers[i]);
    }
}

#define INSIDE(suite, name)                                                                        \
    static int inside_##suite##_##name(void *unused_);                                             \
    Test(suite, name)                                                                              \
    {                                                                                              \
        run_on_each(inside_##suite##_##name);                                                      \
    }                                                                                              \
    static int inside_##suite##_##name(__attribute__((unused)) void *unused_)

/* Waits for what another coroutine does. */
static inline void await_flag(atomic_int *flag, int value)
{
    while (atomic_load(flag) < value)
        gyre_yield();
}

/* The library's messages, one after the other, each line ended by a newline. */
static char messages[8192];
static size_t messages_length;

static inline void note_message(void *user, const char *line, size_t length)
{
    (void)user;
    if (messages_length + length + 2 > sizeof messages)
        return;
    memcpy(messages + messages_length, line, length);
    messages[messages_length + length] = '\n';
    messages_length += length + 1;
    messages[messages_length] = 0;
}

static inline void note_messages(void)
{
    messages_length = 0;
    messages[0] = 0;
    gyre_set_message_handler(note_message, NULL);
}

#endif
