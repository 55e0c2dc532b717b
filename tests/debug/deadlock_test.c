/* Nothing will ever wake anybody: told at once, with what each waits for; then all are cancelled.
 */
#include "messages.h"

#include "../coro/child.h"
#include "sched/report.h"

static int sleep_for_ever(void *arg)
{
    (void)arg;
    return gyre_sleep(INT64_MAX);
}

static int sleep_alone(void *arg)
{
    int *result = arg;

    *result = gyre_sleep(INT64_MAX);
    return *result;
}

Test(deadlock, of_one_is_reported_and_cancelled)
{
    int result = 0;

    note_messages();
    cr_assert_eq(gyre_test(sleep_alone, &result), -EDEADLK);
    cr_assert_eq(result, -ECANCELED);
    said_and_failed("gyre: deadlock: 1 coroutine, none can ever run\n"
                    "  1 \"main\", started at gyre_run, sleeping\n");
}

struct waits {
    gyre_handle sleeper;
    gyre_waitgroup group;
    gyre_semaphore semaphore;
    gyre_channel channels[2];
};

static int join_it(void *arg)
{
    struct waits *waits = arg;

    return gyre_join(waits->sleeper, NULL);
}

static int wait_for_group(void *arg)
{
    struct waits *waits = arg;

    return gyre_waitgroup_wait(&waits->group);
}

static int acquire(void *arg)
{
    struct waits *waits = arg;

    return gyre_semaphore_acquire(&waits->semaphore, 1);
}

static int receive_from_nobody(void *arg)
{
    struct waits *waits = arg;

    return gyre_chan_recv(waits->channels[0].receiver, NULL);
}

static int send_to_nobody(void *arg)
{
    struct waits *waits = arg;

    return gyre_chan_send(waits->channels[1].sender, NULL);
}

static int wait_in_many_ways(void *arg)
{
    static struct waits waits = {.group = GYRE_WAITGROUP_INIT, .semaphore = GYRE_SEMAPHORE_INIT(1)};

    (void)arg;
    for (int i = 0; i < 2; i++)
        GYRE_EXPECT(gyre_chan_make(&waits.channels[i], 0, 0) == 0);
    gyre_waitgroup_add(&waits.group, 1);
    GYRE_EXPECT(gyre_semaphore_acquire(&waits.semaphore, 1) == 0);
    gyre_spawn_at("a/b/x.c:1\0sleeper", &waits.sleeper, sleep_for_ever, NULL, NULL);
    gyre_go_at("x.c:2\0joiner", join_it, &waits);
    gyre_go_at("x.c:3\0grouped", wait_for_group, &waits);
    gyre_go_at("x.c:4\0acquirer", acquire, &waits);
    gyre_go_at("x.c:5\0receiver", receive_from_nobody, &waits);
    gyre_go_at("x.c:6\0sender", send_to_nobody, &waits);
    return gyre_chan_recv((gyre_receiver){NULL}, NULL); /* leaves the channels: not told of */
}

Test(deadlock, names_what_each_waits_for_in_the_order_of_numbers)
{
    note_messages();
    cr_assert_eq(gyre_test(wait_in_many_ways, NULL), -EDEADLK);
    said_and_failed("gyre: deadlock: 7 coroutines, none can ever run\n"
                    "  1 \"main\", started at gyre_run, receiving from a channel\n"
                    "  2 \"sleeper\", started at x.c:1, sleeping\n"
                    "  3 \"joiner\", started at x.c:2, joining\n"
                    "  4 \"grouped\", started at x.c:3, waiting for a waitgroup\n"
                    "  5 \"acquirer\", started at x.c:4, acquiring a semaphore\n"
                    "  6 \"receiver\", started at x.c:5, receiving from a channel\n"
                    "  7 \"sender\", started at x.c:6, sending to a channel\n");
}

static int start_thirty(void *arg)
{
    for (int i = 0; i < 29; i++)
        gyre_go_at("x.c:1\0sleeper", sleep_for_ever, arg);
    return gyre_sleep(INT64_MAX);
}

Test(deadlock, of_many_is_cut_short)
{
    char *end;

    note_messages();
    cr_assert_eq(gyre_test(start_thirty, NULL), -EDEADLK);
    take_verdict();
    end = strstr(messages, "  20 \"sleeper\", started at x.c:1, sleeping\n  and 10 more\n");
    cr_assert_not_null(end, "%s", messages);
}

static int sleep_then_wait(void *arg)
{
    int64_t *when = arg;

    GYRE_EXPECT(gyre_sleep(GYRE_HOUR) == 0);
    *when = gyre_now();
    return gyre_sleep(INT64_MAX);
}

static int start_sleeper_and_wait(void *arg)
{
    gyre_go(sleep_then_wait, arg);
    return gyre_sleep(INT64_MAX);
}

Test(deadlock, is_none_while_a_timer_is_pending)
{
    int64_t when = 0;

    note_messages();
    cr_assert_eq(gyre_test(start_sleeper_and_wait, &when), -EDEADLK);
    cr_assert(when != 0);
    cr_assert_not_null(strstr(messages, "deadlock: 2 coroutines"));
}

static int wait_under_a_timeout(void *arg)
{
    (void)arg;
    GYRE_TIMEOUT(GYRE_HOUR);
    return gyre_sleep(INT64_MAX) == -ETIMEDOUT ? 0 : -EIO;
}

Test(deadlock, is_none_under_a_timeout)
{
    cr_assert_eq(gyre_test(wait_under_a_timeout, NULL), 0);
}

/* Cancelled, a program may still do what takes time and the kernel. */
static int clean_up_at_length(void *arg)
{
    int fds[2];

    GYRE_EXPECT(gyre_sleep(INT64_MAX) == -ECANCELED);
    GYRE_SHIELD();
    GYRE_EXPECT(gyre_sleep(GYRE_HOUR) == 0);
    GYRE_EXPECT(pipe(fds) == 0);
    GYRE_EXPECT(gyre_write(fds[1], "x", 1) == 1);
    GYRE_EXPECT(gyre_close(fds[0]) == 0);
    GYRE_EXPECT(gyre_close(fds[1]) == 0);
    *(int *)arg = 1;
    return 0;
}

Test(deadlock, leaves_time_to_clean_up)
{
    int done = 0;

    note_messages();
    cr_assert_eq(gyre_test(clean_up_at_length, &done), -EDEADLK);
    cr_assert_eq(done, 1);
    said_and_failed("gyre: deadlock: 1 coroutine, none can ever run\n"
                    "  1 \"main\", started at gyre_run, sleeping\n");
}

/* --- those who can't be cancelled ------------------------------------------------------------ */

static struct child child;
static gyre_mutex first = GYRE_MUTEX_INIT, second = GYRE_MUTEX_INIT;

static int lock_both(gyre_mutex *one, gyre_mutex *other)
{
    gyre_mutex_lock(one);
    gyre_sleep(GYRE_SECOND);
    gyre_mutex_lock(other);
    gyre_mutex_unlock(other);
    gyre_mutex_unlock(one);
    return 0;
}

static int lock_upwards(void *arg)
{
    (void)arg;
    return lock_both(&first, &second);
}

static int lock_downwards(void *arg)
{
    (void)arg;
    return lock_both(&second, &first);
}

static int lock_crosswise(void *arg)
{
    (void)arg;
    gyre_go_at("bank.c:17\0a", lock_upwards, NULL);
    gyre_go_at("bank.c:18\0b", lock_downwards, NULL);
    return gyre_sleep(INT64_MAX);
}

static void deadlock_for_good(void)
{
    gyre_test(lock_crosswise, NULL);
}

Test(deadlock, that_cannot_be_broken_up_is_reported_and_aborts)
{
    child_run(&child, deadlock_for_good);
    cr_assert_eq(child.status, -SIGABRT);
    cr_assert_str_eq(child.output,
                     "gyre: deadlock: 3 coroutines, none can ever run\n"
                     "  1 \"main\", started at gyre_run, sleeping\n"
                     "  2 \"a\", started at bank.c:17, locking a mutex\n"
                     "  3 \"b\", started at bank.c:18, locking a mutex\n"
                     "gyre: test: 2 coroutines cannot be cancelled and will never end:\n"
                     "  2 \"a\", started at bank.c:17, locking a mutex\n"
                     "  3 \"b\", started at bank.c:18, locking a mutex\n");
}

static int leave_crosswise(void *arg)
{
    (void)arg;
    gyre_go_at("bank.c:17\0a", lock_upwards, NULL);
    gyre_go_at("bank.c:18\0b", lock_downwards, NULL);
    return gyre_sleep(GYRE_MINUTE);
}

static void leave_for_good(void)
{
    gyre_test(leave_crosswise, NULL);
}

Test(deadlock, of_those_left_behind_aborts_at_once)
{
    child_run(&child, leave_for_good);
    cr_assert_eq(child.status, -SIGABRT);
    cr_assert_str_eq(child.output,
                     "gyre: leak: 2 coroutines did not end before the main one:\n"
                     "  2 \"a\", started at bank.c:17, locking a mutex\n"
                     "  3 \"b\", started at bank.c:18, locking a mutex\n"
                     "gyre: test: 2 coroutines cannot be cancelled and will never end:\n"
                     "  2 \"a\", started at bank.c:17, locking a mutex\n"
                     "  3 \"b\", started at bank.c:18, locking a mutex\n");
}

/* --- every reason has words ------------------------------------------------------------------ */

Test(deadlock, every_reason_to_park_has_words_of_its_own)
{
    for (unsigned i = 0; i <= PARK_TEST; i++) {
        cr_assert(strcmp(gyre_park_words(i), "parked"), "%u", i);
        for (unsigned k = 0; k < i; k++)
            cr_assert(strcmp(gyre_park_words(i), gyre_park_words(k)), "%u, %u", i, k);
    }
    cr_assert_str_eq(gyre_park_words(1000), "parked");
}
