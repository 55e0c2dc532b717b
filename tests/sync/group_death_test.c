/* What is no use of a group, each in a child of its own: the exact lines, and SIGABRT. */
#include "../coro/child.h"
#include "../sched/inside.h"

static struct child child;
static gyre_fn child_fn;
static gyre_group group;

static int sleep_for_ever(void *arg)
{
    (void)arg;
    return gyre_sleep(INT64_MAX);
}

static int wait_for_it(void *arg)
{
    (void)arg;
    return gyre_group_wait(&group);
}

static int start_own_waiter(void *arg)
{
    (void)arg;
    gyre_group_go_at("pool.c:57\0waiter", &group, wait_for_it, NULL, 0);
    return gyre_sleep(INT64_MAX);
}

static int wait_beside_another(void *arg)
{
    (void)arg;
    gyre_group_go(&group, sleep_for_ever, NULL);
    gyre_go(wait_for_it, NULL);
    while (!group.waiters.first)
        gyre_yield();
    return gyre_group_wait(&group);
}

static void run_child(void)
{
    run_with_workers(1, child_fn, NULL);
}

static void wait_outside(void)
{
    gyre_group_wait(&group);
}

static void go_outside(void)
{
    gyre_group_go(&group, sleep_for_ever, NULL);
}

static void cancel_outside(void)
{
    gyre_group_cancel(&group);
}

static void died_with(void (*fn)(void), const char *text)
{
    child_run(&child, fn);
    cr_assert_eq(child.status, -SIGABRT, "status %d: %s", child.status, child.output);
    cr_assert_eq(strncmp(child.output, text, strlen(text)), 0, "%s", child.output);
}

Test(group_death, is_waited_for_by_its_member)
{
    child_fn = start_own_waiter;
    died_with(run_child, "gyre: panic: a member waits for its own group\n"
                         "  coroutine 2 \"waiter\", started at pool.c:57\n");
}

Test(group_death, is_waited_for_by_two)
{
    child_fn = wait_beside_another;
    died_with(run_child, "gyre: panic: two coroutines wait for one group\n"
                         "  coroutine 1 \"main\", started at gyre_run\n");
}

Test(group_death, is_used_outside_a_coroutine)
{
    died_with(wait_outside, "gyre: panic: gyre_group_wait ");
    died_with(go_outside, "gyre: panic: gyre_group_go ");
    died_with(cancel_outside, "gyre: panic: gyre_group_cancel ");
}
