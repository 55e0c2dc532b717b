/* The panics of channels and selects, each in a child of its own: the exact lines. */
#include "../sched/inside.h"
#include "queues.h"

#include "../coro/child.h"
#include "base/checks.h"

#include <pthread.h>
#include <stdlib.h>

GYRE_CHAN_TYPE(results, int);

/* --- the children ------------------------------------------------------------------------------
 */

static gyre_channel named(size_t capacity)
{
    struct gyre_chan_options options = GYRE_CHAN_OPTIONS_INIT;
    gyre_channel c;

    options.name = "jobs";
    if (gyre_chan_make_options(&c, sizeof(int), capacity, &options))
        abort();
    return c;
}

static gyre_channel closed(size_t capacity)
{
    gyre_channel c = named(capacity);

    gyre_chan_close(c.sender);
    return c;
}

static int number;

static int send_on_closed(void *arg)
{
    (void)arg;
    return gyre_chan_send(closed(0).sender, &number);
}

static int send_on_closed_with_room(void *arg)
{
    (void)arg;
    return gyre_chan_send(closed(4).sender, &number);
}

static int try_send_on_closed(void *arg)
{
    (void)arg;
    return gyre_chan_try_send(closed(1).sender, &number);
}

static int select_on_closed(void *arg)
{
    struct gyre_case cases[] = {gyre_case_default(), gyre_case_send(closed(1).sender, &number)};

    (void)arg;
    return gyre_select(cases);
}

static int typed_send_on_closed(void *arg)
{
    results c;

    (void)arg;
    results_make(&c, 0);
    results_close(c.sender);
    return results_send(c.sender, 1);
}

static int close_twice(void *arg)
{
    (void)arg;
    gyre_chan_close(closed(0).sender);
    return 0;
}

static int close_with_an_error_twice(void *arg)
{
    (void)arg;
    gyre_chan_close_error(closed(3).sender, -EIO);
    return 0;
}

static int close_nil(void *arg)
{
    (void)arg;
    gyre_chan_close((gyre_sender){NULL});
    return 0;
}

static int close_with_no_error(void *arg)
{
    (void)arg;
    gyre_chan_close_error(named(0).sender, 5);
    return 0;
}

static int sender(void *arg)
{
    return gyre_chan_send(((gyre_channel *)arg)->sender, &number);
}

static int selecting_sender(void *arg)
{
    gyre_channel *c = arg, idle = named(0);
    struct gyre_case cases[] = {gyre_case_recv(idle.receiver, NULL),
                                gyre_case_send(c->sender, &number), gyre_case_after(GYRE_HOUR)};

    return gyre_select(cases);
}

static int close_under(const char *site, gyre_fn fn, size_t capacity)
{
    static gyre_channel c;

    c = named(capacity);
    while (capacity--)
        gyre_chan_send(c.sender, &number);
    gyre_go_at(site, fn, &c);
    await_senders(c, 1);
    gyre_chan_close(c.sender);
    return gyre_sleep(GYRE_MINUTE);
}

static int close_under_a_sender(void *arg)
{
    (void)arg;
    return close_under("a.c:1\0sender", sender, 0);
}

static int close_under_a_sender_to_a_full_one(void *arg)
{
    (void)arg;
    return close_under("a.c:1\0sender", sender, 2);
}

static int close_under_a_select(void *arg)
{
    (void)arg;
    return close_under("a.c:2\0selecting", selecting_sender, 0);
}

static void *close_elsewhere(void *arg)
{
    gyre_chan_close(((gyre_channel *)arg)->sender);
    return NULL;
}

static int close_twice_from_a_thread(void *arg)
{
    gyre_channel c = closed(0);
    pthread_t thread;

    (void)arg;
    pthread_create(&thread, NULL, close_elsewhere, &c);
    return pthread_join(thread, NULL);
}

static int done_of_null(void *arg)
{
    struct gyre_case cases[] = {gyre_case_default(), gyre_case_done(NULL)};

    (void)arg;
    return gyre_select(cases);
}

static int receiver(void *arg)
{
    return gyre_chan_recv(((gyre_channel *)arg)->receiver, NULL);
}

static int release_under_a_receiver(void *arg)
{
    gyre_channel c = named(0);

    (void)arg;
    gyre_go(receiver, &c);
    await_receivers(c, 1);
    gyre_chan_release(c);
    return 0;
}

/* --- after the last release: only with checks on -----------------------------------------------
 */

static int use;

static int use_after_release(void *arg)
{
    gyre_channel c;

    (void)arg;
    gyre_checks = true;
    c = named(4);
    gyre_chan_release(c);
    switch (use) {
    case 0:
        return gyre_chan_send(c.sender, &number);
    case 1:
        return gyre_chan_recv(c.receiver, &number);
    case 2:
        return gyre_chan_try_send(c.sender, &number);
    case 3:
        return gyre_chan_try_recv(c.receiver, &number);
    case 4:
        gyre_chan_close(c.sender);
        break;
    case 5:
        return (int)gyre_chan_len(c.receiver);
    case 6:
        return (int)gyre_chan_cap(c.receiver);
    case 7:
        gyre_chan_hold_sender(c.sender);
        break;
    case 8:
        gyre_chan_release_receiver(c.receiver);
        break;
    case 9: {
        struct gyre_case cases[] = {gyre_case_default(), gyre_case_recv(c.receiver, &number)};

        return gyre_select(cases);
    }
    case 10: {
        struct gyre_case cases[] = {gyre_case_send(c.sender, &number)};

        return gyre_select(cases);
    }
    case 11:
        for (int i = 0; i < 1000; i++)
            gyre_chan_release(channel_of(8, 1));
        gyre_chan_close(c.sender);
        break;
    }
    return 0;
}

/* --- the parent --------------------------------------------------------------------------------
 */

static struct child child;
static gyre_fn child_main;

static void run_main(void)
{
    _exit(run_with_workers(2, child_main, NULL) != 0);
}

/* Aborted with these two lines and then a backtrace. */
static void died_with(const char *first, const char *second)
{
    char *end = strchr(child.output, '\n'), *next = end ? strchr(end + 1, '\n') : NULL;

    cr_assert_eq(child.status, -SIGABRT, "status %d: %s", child.status, child.output);
    cr_assert(end && next, "%s", child.output);
    *end = *next = 0;
    cr_assert_str_eq(child.output, first);
    cr_assert_str_eq(end + 1, second);
    cr_assert(!strncmp(next + 1, "    ", 4), "%s", next + 1);
    cr_assert(!strstr(next + 1, "gyre:"), "%s", next + 1);
}

static void panics(gyre_fn fn, const char *first, const char *second)
{
    child_main = fn;
    child_run(&child, run_main);
    died_with(first, second);
}

#define IN_MAIN "  coroutine 1 \"main\", started at gyre_run"
#define CLOSED  "gyre: panic: send on closed channel \"jobs\""

Test(chan_death, sending_on_a_closed_one)
{
    panics(send_on_closed, CLOSED, IN_MAIN);
    panics(send_on_closed_with_room, CLOSED, IN_MAIN);
    panics(try_send_on_closed, CLOSED, IN_MAIN);
    panics(select_on_closed, CLOSED, IN_MAIN);
}

Test(chan_death, a_typed_one_has_its_types_name)
{
    panics(typed_send_on_closed, "gyre: panic: send on closed channel \"results\"", IN_MAIN);
}

Test(chan_death, closing_twice)
{
    panics(close_twice, "gyre: panic: close of closed channel \"jobs\"", IN_MAIN);
    panics(close_with_an_error_twice, "gyre: panic: close of closed channel \"jobs\"", IN_MAIN);
}

Test(chan_death, closing_nil)
{
    panics(close_nil, "gyre: panic: close of nil channel", IN_MAIN);
}

Test(chan_death, closing_with_what_is_no_error)
{
    panics(close_with_no_error, "gyre: panic: gyre_chan_close_error with 5, which is no error",
           IN_MAIN);
}

Test(chan_death, closing_under_a_sender_that_waits)
{
    panics(close_under_a_sender, CLOSED, "  coroutine 2 \"sender\", started at a.c:1");
    panics(close_under_a_sender_to_a_full_one, CLOSED,
           "  coroutine 2 \"sender\", started at a.c:1");
}

Test(chan_death, closing_under_a_select_that_waits)
{
    panics(close_under_a_select, CLOSED, "  coroutine 2 \"selecting\", started at a.c:2");
}

Test(chan_death, a_case_of_no_context)
{
    panics(done_of_null, "gyre: panic: gyre_case_done of a NULL context", IN_MAIN);
}

Test(chan_death, a_last_release_under_one_that_waits)
{
    panics(release_under_a_receiver,
           "gyre: panic: a coroutine waits at the last release of channel \"jobs\"", IN_MAIN);
}

Test(chan_death, use_after_the_last_release_with_checks_on)
{
    for (use = 0; use < 12; use++)
        panics(use_after_release, "gyre: panic: use after the last release of channel \"jobs\"",
               IN_MAIN);
}

/* A foreign thread has no coroutine to name. */
Test(chan_death, closing_twice_from_a_foreign_thread)
{
    char *end;

    child_main = close_twice_from_a_thread;
    child_run(&child, run_main);
    cr_assert_eq(child.status, -SIGABRT);
    end = strchr(child.output, '\n');
    cr_assert_not_null(end);
    *end = 0;
    cr_assert_str_eq(child.output, "gyre: panic: close of closed channel \"jobs\"");
    cr_assert(!strncmp(end + 1, "    ", 4), "%s", end + 1);
}

static gyre_channel unnamed;

static int send_on_closed_unnamed(void *arg)
{
    (void)arg;
    gyre_chan_close(unnamed.sender);
    return gyre_chan_send(unnamed.sender, &number);
}

Test(chan_death, one_without_a_name_is_called_by_its_address)
{
    char line[100];

    unnamed = channel_of(sizeof number, 0);
    snprintf(line, sizeof line, "gyre: panic: send on closed channel %p",
             (void *)unnamed.sender.chan);
    panics(send_on_closed_unnamed, line, IN_MAIN);
    gyre_chan_release(unnamed);
}

static int outside;

static void run_outside(void)
{
    gyre_channel c = named(1);
    struct gyre_case cases[] = {gyre_case_default()};

    if (outside == 0)
        gyre_chan_send(c.sender, &number);
    else if (outside == 1)
        gyre_chan_recv(c.receiver, &number);
    else
        gyre_select(cases);
}

Test(chan_death, parking_calls_outside_a_coroutine)
{
    static const char *const names[] = {"gyre_chan_send", "gyre_chan_recv", "gyre_select"};
    char line[100], *end;

    for (outside = 0; outside < 3; outside++) {
        child_run(&child, run_outside);
        cr_assert_eq(child.status, -SIGABRT);
        snprintf(line, sizeof line, "gyre: panic: %s called outside a coroutine", names[outside]);
        end = strchr(child.output, '\n');
        cr_assert_not_null(end);
        *end = 0;
        cr_assert_str_eq(child.output, line);
    }
}
