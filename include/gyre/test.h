/*
 * gyre/test.h - for programs' tests: run, check for leaks, replay, and a clock that does not wait.
 *
 *     GYRE_TEST(cache, entries_expire)                  a Criterion test, its body a coroutine
 *     {
 *         ...
 *         gyre_sleep(GYRE_HOUR);                        takes no time
 *         GYRE_EXPECT(cache_get(cache, "key") == NULL);
 *     }
 *
 * Under the virtual clock time stands still while anything can run, and moves on to the next timer
 * or deadline when all are parked: a test of timeouts takes no time and has one outcome. A
 * coroutine that waits for the kernel (a socket, a file, a process) stops the clock until that
 * completes. So do a listener that was accepted from, a watch and a feed, until they are closed,
 * and a function on a helper thread, until it returns; a signal that is waited for does not.
 * Threads of the program's own are not seen: where they wake coroutines by anything but a
 * descriptor, take the real clock. gyre_now() begins at the same value in each test. Go:
 * testing/synctest.
 *
 * Checks, which can be had in any program with GYRE_DEBUG=checks (and are on in a library built
 * with meson's buildtype=debug): use of a channel after its last release panics; at the end
 * coroutines that are still alive when the main one has returned, coroutines that nobody joined or
 * detached, contexts and channels that nobody released are reported. The end is that of the
 * runtime: what a thread releases after gyre_run or gyre_stop is reported too. Coroutines still
 * alive are not, where the runtime's context was cancelled (gyre_stop).
 */
#ifndef GYRE_TEST_H
#define GYRE_TEST_H

#include <gyre/base.h>

GYRE_BEGIN_DECLS

/* Start from GYRE_TEST_OPTIONS_INIT. Zero means the default. */
struct gyre_test_options {
    size_t size;      /* sizeof (struct gyre_test_options) */
    unsigned workers; /* 0: one, whatever GYRE_WORKERS says; more need real_clock, and no seed
                         replays them */
    int real_clock;   /* nonzero: no virtual clock */
    int shuffle;      /* nonzero: of the coroutines that can run, one picked at random is next, not
                         the one whose turn it is; with one worker the seed decides everything */
    uint64_t seed;    /* of every random choice; 0: a fresh one. GYRE_SEED goes before it */
};

#define GYRE_TEST_OPTIONS_INIT                                                                     \
    {                                                                                              \
        sizeof(struct gyre_test_options), 0, 0, 0, 0                                               \
    }

/*
 * Runs fn(arg) as gyre_run does, with one worker, the virtual clock and checks on. Returns 0 when
 * fn returned 0, no GYRE_EXPECT failed and nothing leaked: every coroutine has ended when fn
 * returns (those that are about to get the time to), and was joined or detached; every context
 * handle and channel was released; no descriptor is open that was not open before.
 *
 * Else, after messages that say what is wrong and which seed replays it: -EDEADLK (under the
 * virtual clock: all were parked, and nothing would ever wake one; each is listed with what it
 * waits for, then all are cancelled; those that can't be, such as two that lock each other's mutex,
 * are listed again and the process aborts); what fn returned; -ENOTRECOVERABLE (a leak or a failed
 * expectation). Or why it could not start, as gyre_run_options. From a thread of the program, not
 * from a coroutine. Go: synctest.Test, and the leak checks of goleak.
 */
GYRE_API int gyre_test(gyre_fn fn, void *arg);
GYRE_API int gyre_test_run(gyre_fn fn, void *arg, const struct gyre_test_options *options);

/*
 * Waits until all other coroutines are parked, waiting for each other or for time, and nothing is
 * in the kernel; the clock does not move. Only in a gyre_test with one worker, by one
 * coroutine at a time (else panics). Returns 0, -ECANCELED or -ETIMEDOUT. Parks.
 * Go: synctest.Wait.
 */
GYRE_API int gyre_test_wait(void);

/* Says that condition does not hold, with its place, and makes the test fail at its end; it goes
 * on. (A test library's own assertion may jump, which a coroutine's stack does not survive.) From
 * anywhere. */
#define GYRE_EXPECT(condition)                                                                     \
    ((condition) ? (void)0 : gyre_test_fail(__FILE__, __LINE__, #condition))
GYRE_API void gyre_test_fail(const char *file, int line, const char *condition);

/* With Criterion (include <criterion/criterion.h> first): a test whose body runs in gyre_test. */
#define GYRE_TEST(suite, name)                                                                     \
    static void gyre_test_body_##suite##_##name(void);                                             \
    static int gyre_test_run_##suite##_##name(void *unused)                                        \
    {                                                                                              \
        (void)unused;                                                                              \
        gyre_test_body_##suite##_##name();                                                         \
        return 0;                                                                                  \
    }                                                                                              \
    Test(suite, name)                                                                              \
    {                                                                                              \
        cr_assert(gyre_test(gyre_test_run_##suite##_##name, 0) == 0, "see the messages above");    \
    }                                                                                              \
    static void gyre_test_body_##suite##_##name(void)

GYRE_END_DECLS

#endif
