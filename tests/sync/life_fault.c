/*
 * What needs memory, without it: each case runs with the n-th allocation failing, and with all from
 * the n-th on, for every n until none fails, with one worker and with two. Whatever a call then
 * returns is 0 or -ENOMEM, its outputs say so too, nothing has changed, and the same call succeeds
 * once there is memory. What the headers say needs none is run without any.
 *
 * Each run is a gyre_test, which finds coroutines, contexts and channels that are left. A case
 * begins with no spare stack and no spare node of a context, so that each of its calls allocates. A
 * case in which nothing ever failed is an error.
 */
#include "faults.h"

#include "base/macros.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

/* --- nothing to spare ------------------------------------------------------------------------ */

enum { MANY = 300 };

static gyre_channel gate; /* who receives from it waits for the end of the case */
static atomic_int calls;

static int wait_at_gate(void *unused)
{
    (void)unused;
    EXPECT(gyre_chan_recv(gate.receiver, NULL) == 0);
    return 0;
}

static int call_once(void *unused)
{
    (void)unused;
    atomic_fetch_add(&calls, 1);
    return 0;
}

static void count_drop(void *unused)
{
    call_once(unused);
}

static struct gyre_context *nodes[4 * MANY];
static size_t node_count;

static void use_up_nodes(void)
{
    struct gyre_context *root = gyre_context_background();

    while (node_count < ARRAY_SIZE(nodes) && !gyre_context_with_cancel(root, &nodes[node_count]))
        node_count++;
    EXPECT(node_count < ARRAY_SIZE(nodes));
}

static void use_up_stacks(void)
{
    int count = 0;

    while (count < 4 * MANY && !gyre_go(wait_at_gate, NULL))
        count++;
    EXPECT(count < 4 * MANY);
}

static void give_back_nodes(void)
{
    while (node_count)
        gyre_context_release(nodes[--node_count]);
}

/* --- coroutines ------------------------------------------------------------------------------ */

static int join_all(gyre_handle *handles, int count)
{
    int result, bad = 0;

    for (int i = 0; i < count; i++)
        bad += gyre_join(handles[i], &result) || result;
    return bad;
}

/* More than the deque has room for at first. */
static void spawn(void)
{
    static gyre_handle handles[MANY];
    int count = 0, copied = 0, number = 5;

    for (int i = 0; i < MANY; i++) {
        count += WORKED(gyre_spawn(&handles[count], call_once, NULL));
        copied += WORKED(gyre_go_copy(call_once, &number, sizeof number));
    }
    copied += WORKED(gyre_runtime_go(gyre_runtime_current(), call_once, NULL));
    disarm();
    EXPECT(join_all(handles, count) == 0);
    while (atomic_load(&calls) < count + copied)
        gyre_yield();
    EXPECT(gyre_go(call_once, NULL) == 0);
}

static void locals(void)
{
    static const struct gyre_local first = {count_drop}, second = {count_drop};
    static int value;

    EXPECT((gyre_local_get(&first) != NULL) == WORKED(gyre_local_set(&first, &value)) ||
           gyre_local_get(&first) == &value);
    if (WORKED(gyre_local_set(&second, &value)))
        EXPECT(gyre_local_get(&second) == &value);
    else
        EXPECT(!gyre_local_get(&second));
    disarm();
    EXPECT(gyre_local_set(&first, &value) == 0 && gyre_local_set(&second, &value) == 0);
    EXPECT(gyre_local_set(&first, NULL) == 0 && gyre_local_set(&second, NULL) == 0);
    EXPECT(atomic_load(&calls) == 0);
}

/* --- channels -------------------------------------------------------------------------------- */

static void channels(void)
{
    struct gyre_chan_options options = GYRE_CHAN_OPTIONS_INIT;
    gyre_channel channel;
    int value = 1;

    options.drop = count_drop;
    for (size_t capacity = 0; capacity < 3; capacity++) {
        memset(&channel, 1, sizeof channel);
        if (!WORKED(gyre_chan_make(&channel, sizeof value, capacity)))
            EXPECT(!channel.sender.chan && !channel.receiver.chan);
        gyre_chan_release(channel);
        memset(&channel, 1, sizeof channel);
        if (WORKED(gyre_chan_make_options(&channel, sizeof value, capacity, &options)))
            EXPECT(gyre_chan_try_send(channel.sender, &value) == (capacity ? 0 : -EAGAIN));
        else
            EXPECT(!channel.sender.chan && !channel.receiver.chan);
        gyre_chan_release(channel);
    }
    disarm();
    EXPECT(gyre_chan_make(&channel, sizeof value, 1) == 0);
    gyre_chan_release(channel);
}

/* --- scopes ---------------------------------------------------------------------------------- */

static int expect_no_memory(void *unused)
{
    struct gyre_case cases[] = {gyre_case_recv(gate.receiver, NULL), gyre_case_after(GYRE_HOUR)};

    (void)unused;
    EXPECT(gyre_context_error() == -ENOMEM);
    EXPECT(gyre_context_cause() == -ENOMEM);
    EXPECT(gyre_sleep(GYRE_HOUR) == -ENOMEM);
    EXPECT(gyre_yield() == -ENOMEM);
    EXPECT(gyre_chan_recv(gate.receiver, NULL) == -ENOMEM);
    EXPECT(gyre_select(cases) == -ENOMEM);
    return 0;
}

/* Inside a scope that was asked for. True: it could be made. */
static bool inside(void)
{
    struct gyre_context *handle;

    if (!gyre_context_error())
        return true;
    EXPECT(atomic_load(&fault.failed));
    expect_no_memory(NULL);
    handle = gyre_context_current();
    EXPECT(gyre_context_error_of(handle) == -ENOMEM);
    gyre_context_cancel(handle);
    gyre_context_release(handle);
    {
        GYRE_TIMEOUT(GYRE_HOUR);
        EXPECT(gyre_context_error() == -ENOMEM);
    }
    return false;
}

static void timeout_scope(void)
{
    {
        GYRE_TIMEOUT(GYRE_HOUR);
        if (inside())
            EXPECT(gyre_context_deadline() < INT64_MAX);
    }
    {
        GYRE_DEADLINE(gyre_now());
        EXPECT(gyre_context_error() == -ETIMEDOUT || !inside());
    }
}

static void cancellable_scope(void)
{
    struct gyre_context *handle = gyre_context_background();

    {
        GYRE_CANCELLABLE();
        inside();
        {
            GYRE_WITH_CONTEXT(handle);
            inside();
        }
    }
    {
        GYRE_WITH_CONTEXT(handle);
        inside();
    }
}

/* What is spawned inside a scope that could not be made. */
static void spawn_in_scope(void)
{
    gyre_handle child;
    bool made, spawned;

    {
        GYRE_CANCELLABLE();
        made = inside();
        disarm();
        spawned = gyre_spawn(&child, made ? call_once : expect_no_memory, NULL) == 0;
        EXPECT(spawned);
    }
    EXPECT(gyre_context_error() == 0);
    if (spawned)
        EXPECT(join_all(&child, 1) == 0);
}

static void drop_value(void *value)
{
    ++*(int *)value;
}

static void value_scope(void)
{
    static const struct gyre_context_key key = {drop_value}, other = {drop_value};
    int dropped = 0, other_dropped = 0;

    {
        GYRE_CONTEXT_VALUE(&key, &dropped);
        if (inside()) {
            EXPECT(dropped == 0 && gyre_context_value(&key) == &dropped);
            {
                GYRE_CONTEXT_VALUE(&other, &other_dropped);
                EXPECT(inside() ? gyre_context_value(&key) == &dropped && !other_dropped
                                : other_dropped == 1);
            }
            EXPECT(other_dropped == 1);
        } else {
            EXPECT(dropped == 1 && !gyre_context_value(&key));
        }
    }
    EXPECT(dropped == 1);
}

/* The shield always holds; without memory it hides the value. */
static void shield_scope(void)
{
    static const struct gyre_context_key key = {drop_value};
    struct gyre_context *handle;
    int dropped = 0;

    GYRE_CONTEXT_VALUE(&key, &dropped);
    handle = gyre_context_current();
    if (!gyre_context_error())
        gyre_context_cancel(handle);
    gyre_context_release(handle);
    {
        GYRE_SHIELD();
        EXPECT(gyre_context_error() == 0);
        EXPECT(gyre_yield() == 0);
        EXPECT(dropped || gyre_context_value(&key) == &dropped || atomic_load(&fault.failed));
    }
    EXPECT(gyre_context_error() != 0);
}

/* --- handles --------------------------------------------------------------------------------- */

enum { WITH_CANCEL, WITH_TIMEOUT, WITH_DEADLINE, WITH_VALUE, WITHOUT_CANCEL, WITH_COUNT };

static int make(int kind, struct gyre_context *parent, int *value, struct gyre_context **context)
{
    static const struct gyre_context_key key = {drop_value};

    switch (kind) {
    case WITH_CANCEL:
        return gyre_context_with_cancel(parent, context);
    case WITH_TIMEOUT:
        return gyre_context_with_timeout(parent, GYRE_HOUR, context);
    case WITH_DEADLINE:
        return gyre_context_with_deadline(parent, gyre_now() + GYRE_HOUR, context);
    case WITH_VALUE:
        return gyre_context_with_value(parent, &key, value, context);
    default:
        return gyre_context_without_cancel(parent, context);
    }
}

/* Each kind takes the first node that is missing. */
static void make_handle(int kind)
{
    struct gyre_context *parent = gyre_context_background(), *context = parent;
    int dropped = 0, parent_dropped = 0;

    /* Without values a shield needs no memory. */
    if (kind == WITHOUT_CANCEL && !WORKED(make(WITH_VALUE, parent, &parent_dropped, &parent)))
        parent = gyre_context_background();
    if (WORKED(make(kind, parent, &dropped, &context))) {
        gyre_context_cancel(context);
        EXPECT(kind == WITHOUT_CANCEL || gyre_context_error_of(context) == -ECANCELED);
        gyre_context_release(context);
        EXPECT(dropped == (kind == WITH_VALUE));
    } else {
        EXPECT(!context && !dropped);
    }
    disarm();
    EXPECT(make(kind, parent, &dropped, &context) == 0);
    gyre_context_cancel(context);
    gyre_context_release(context);
    gyre_context_release(parent);
}

#define HANDLE(name, kind)                                                                         \
    static void name(void)                                                                         \
    {                                                                                              \
        make_handle(kind);                                                                         \
    }

HANDLE(with_cancel, WITH_CANCEL)
HANDLE(with_timeout, WITH_TIMEOUT)
HANDLE(with_deadline, WITH_DEADLINE)
HANDLE(with_value, WITH_VALUE)
HANDLE(without_cancel, WITHOUT_CANCEL)

static struct gyre_context *valued_context(int *dropped)
{
    struct gyre_context *context = NULL;

    EXPECT(make(WITH_VALUE, gyre_context_background(), dropped, &context) == 0);
    return context;
}

static void done(void)
{
    struct gyre_context *context = nodes[0];
    struct gyre_case cases[] = {gyre_case_done(context), gyre_case_after(GYRE_MILLISECOND)};
    gyre_receiver channel;
    int chosen = gyre_select(cases);

    EXPECT(chosen == 1 || (chosen == -ENOMEM && atomic_load(&fault.failed)));
    if (WORKED(gyre_context_done(context, &channel)))
        EXPECT(gyre_chan_try_recv(channel, NULL) == -EAGAIN);
    disarm();
    gyre_context_cancel(context);
    EXPECT(gyre_select(cases) == 0);
    EXPECT(gyre_context_done(context, &channel) == 0 && gyre_chan_recv(channel, NULL) == 0);
}

static void after(void)
{
    int dropped = 0, wanted = 0;
    struct gyre_context *context = nodes[0], *valued;
    struct gyre_context_after *handle = NULL;

    disarm();
    gyre_context_release(nodes[--node_count]);
    valued = valued_context(&dropped); /* the shield of its functions needs a node */
    atomic_store(&fault.armed, true);
    if (WORKED(gyre_context_after(context, call_once, NULL, &handle)))
        EXPECT(gyre_context_after_stop(handle) == 1);
    else
        EXPECT(!handle);
    wanted += WORKED(gyre_context_after(context, call_once, NULL, NULL));
    wanted += WORKED(gyre_context_after(valued, call_once, NULL, NULL));
    if (WORKED(gyre_context_after(valued, call_once, NULL, &handle)))
        EXPECT(gyre_context_after_stop(handle) == 1);
    else
        EXPECT(!handle);
    gyre_yield();
    EXPECT(atomic_load(&calls) == 0);
    gyre_context_cancel(context);
    gyre_context_cancel(valued);
    gyre_context_release(valued);
    while (atomic_load(&calls) < wanted)
        gyre_yield();
    disarm();
}

/* --- groups ---------------------------------------------------------------------------------- */

static void groups(void)
{
    GYRE_GROUP(group, .limit = 1);
    int started = 0, wanted, result;

    for (int i = 0; i < 4; i++) {
        result = gyre_group_go(&group, call_once, NULL);
        /* After an error of the group's the others aren't started. */
        EXPECT(!result || result == -ENOMEM || (result == -ECANCELED && started < i));
        started += !result;
    }
    result = gyre_group_try_go(&group, call_once, NULL);
    EXPECT(!result || result == -EAGAIN || result == -ENOMEM || result == -ECANCELED);
    started += !result;
    wanted = atomic_load(&fault.failed) ? -ENOMEM : 0;
    result = gyre_group_wait(&group);
    EXPECT(result == wanted || (!result && started >= 4));
    EXPECT(atomic_load(&calls) == started);
    disarm();
    EXPECT(gyre_group_go(&group, call_once, NULL) == 0);
    EXPECT(gyre_group_wait(&group) == 0);
    EXPECT(atomic_load(&calls) == started + 1);
}

static void waitgroups(void)
{
    gyre_waitgroup group = GYRE_WAITGROUP_INIT;
    int number = 3, started = 0;

    for (int i = 0; i < 4; i++) {
        started += WORKED(gyre_waitgroup_go(&group, call_once, NULL));
        started += WORKED(gyre_waitgroup_go_copy(&group, call_once, &number, sizeof number));
    }
    EXPECT(gyre_waitgroup_wait(&group) == 0);
    EXPECT(atomic_load(&calls) == started);
    disarm();
    EXPECT(gyre_waitgroup_go(&group, call_once, NULL) == 0);
    EXPECT(gyre_waitgroup_wait(&group) == 0);
}

/* --- pools ----------------------------------------------------------------------------------- */

static void *make_object(void *unused)
{
    (void)unused;
    return malloc(16);
}

static void pools(void)
{
    struct gyre_pool_options options = GYRE_POOL_OPTIONS_INIT;
    struct gyre_pool *pool = NULL;
    void *object;

    options.make = make_object;
    options.drop = free;
    if (WORKED(gyre_pool_create(&pool, &options))) {
        object = gyre_pool_get(pool);
        EXPECT(object || atomic_load(&fault.failed));
        gyre_pool_put(pool, object);
        EXPECT(gyre_pool_trim(pool) == (object != NULL));
    } else {
        EXPECT(!pool);
    }
    gyre_pool_destroy(pool);
    disarm();
    EXPECT(gyre_pool_create(&pool, &options) == 0);
    gyre_pool_destroy(pool);
}

/* --- time ------------------------------------------------------------------------------------ */

static void timers(void)
{
    struct gyre_timer *timer = NULL;
    gyre_receiver receiver = {NULL};
    int64_t moment;

    if (WORKED(gyre_timer_create(&timer, 1))) {
        EXPECT(gyre_chan_recv(gyre_timer_channel(timer), &moment) == 1);
        EXPECT(gyre_timer_reset(timer, GYRE_HOUR) == 0);
        EXPECT(gyre_timer_stop(timer) == 1);
    } else {
        EXPECT(!timer);
    }
    if (WORKED(gyre_after(&receiver, 1)))
        EXPECT(gyre_chan_recv(receiver, &moment) == 1);
    else
        EXPECT(!receiver.chan);
    gyre_timer_destroy(timer);
    gyre_chan_release_receiver(receiver);
    disarm();
    EXPECT(gyre_timer_create(&timer, GYRE_HOUR) == 0);
    gyre_timer_destroy(timer);
}

static void tickers(void)
{
    struct gyre_ticker *ticker = NULL;
    int64_t moment;

    if (WORKED(gyre_ticker_create(&ticker, GYRE_MILLISECOND)))
        for (int i = 0; i < 3; i++)
            EXPECT(gyre_chan_recv(gyre_ticker_channel(ticker), &moment) == 1);
    else
        EXPECT(!ticker);
    gyre_ticker_destroy(ticker);
}

/* The coroutines are made when they are due, tried again until there is memory for them. */
static void after_funcs(void)
{
    struct gyre_timer *timer = NULL, *stopped = NULL;
    int wanted = 0;

    wanted += WORKED(gyre_after_func(NULL, GYRE_MILLISECOND, call_once, NULL));
    wanted += WORKED(gyre_after_func(&timer, GYRE_MILLISECOND, call_once, NULL));
    if (WORKED(gyre_after_func(&stopped, GYRE_MILLISECOND, call_once, NULL))) {
        EXPECT(gyre_sleep(3 * GYRE_MILLISECOND) == 0);
        wanted += gyre_timer_stop(stopped) == 0;
    }
    EXPECT(gyre_sleep(5 * GYRE_MILLISECOND) == 0);
    disarm();
    while (atomic_load(&calls) < wanted)
        gyre_sleep(GYRE_MILLISECOND);
    EXPECT(gyre_sleep(3 * GYRE_MILLISECOND) == 0);
    EXPECT(atomic_load(&calls) == wanted);
    gyre_timer_destroy(timer);
    gyre_timer_destroy(stopped);
}

/* --- what needs no memory -------------------------------------------------------------------- */

static struct partner {
    gyre_channel numbers, back;
    gyre_mutex mutex;
    gyre_rwmutex rwmutex;
    gyre_cond cond;
    gyre_semaphore semaphore;
    gyre_barrier barrier;
    gyre_once once;
    gyre_waitgroup group;
    int turn;
} partner;

static int answer(void *unused)
{
    int number;

    (void)unused;
    for (int i = 0; i < 10; i++) {
        struct gyre_case cases[] = {
            gyre_case_recv(partner.numbers.receiver, &number),
            gyre_case_done(nodes[0]),
            gyre_case_after(GYRE_HOUR),
        };

        EXPECT(gyre_select(cases) == 0 && number == i);
        EXPECT(gyre_chan_send(partner.back.sender, &number) == 0);
        EXPECT(gyre_barrier_wait(&partner.barrier) >= 0);
        EXPECT(gyre_semaphore_acquire(&partner.semaphore, 1) == 0);
        EXPECT(gyre_once_do(&partner.once, call_once, NULL) == 0);
        gyre_rwmutex_rlock(&partner.rwmutex);
        gyre_mutex_lock(&partner.mutex);
        partner.turn = i;
        gyre_cond_signal(&partner.cond);
        gyre_mutex_unlock(&partner.mutex);
        gyre_rwmutex_runlock(&partner.rwmutex);
        gyre_semaphore_release(&partner.semaphore, 1);
    }
    gyre_waitgroup_done(&partner.group);
    return 0;
}

static void ask(void)
{
    int number;

    for (int i = 0; i < 10; i++) {
        EXPECT(gyre_chan_send(partner.numbers.sender, &i) == 0);
        EXPECT(gyre_chan_recv(partner.back.receiver, &number) == 1 && number == i);
        EXPECT(gyre_barrier_wait(&partner.barrier) >= 0);
        EXPECT(gyre_semaphore_acquire(&partner.semaphore, 1) == 0);
        EXPECT(gyre_once_do(&partner.once, call_once, NULL) == 0);
        gyre_rwmutex_lock(&partner.rwmutex);
        gyre_rwmutex_unlock(&partner.rwmutex);
        gyre_semaphore_release(&partner.semaphore, 1);
        gyre_mutex_lock(&partner.mutex);
        while (partner.turn < i)
            EXPECT(gyre_cond_wait(&partner.cond, &partner.mutex) == 0);
        gyre_mutex_unlock(&partner.mutex);
    }
    EXPECT(gyre_waitgroup_wait(&partner.group) == 0);
}

static void nothing_allocated(void)
{
    const struct partner fresh = {
        .semaphore = GYRE_SEMAPHORE_INIT(1), .barrier = GYRE_BARRIER_INIT(2), .turn = -1};
    gyre_receiver done_channel;
    struct gyre_timer *timer;

    disarm();
    partner = fresh;
    gyre_waitgroup_add(&partner.group, 1);
    EXPECT(gyre_chan_make(&partner.numbers, sizeof(int), 0) == 0);
    EXPECT(gyre_chan_make(&partner.back, sizeof(int), 1) == 0);
    EXPECT(gyre_context_done(nodes[0], &done_channel) == 0);
    EXPECT(gyre_timer_create(&timer, GYRE_HOUR) == 0);
    EXPECT(gyre_go(answer, NULL) == 0);
    arm(1, true);
    ask();
    EXPECT(gyre_timer_reset(timer, 1) == 1);
    EXPECT(gyre_chan_recv(gyre_timer_channel(timer), NULL) == 1);
    EXPECT(atomic_load(&calls) == 1);
    EXPECT(atomic_load(&fault.count) == 0);
    disarm();
    gyre_timer_destroy(timer);
    gyre_chan_release(partner.numbers);
    gyre_chan_release(partner.back);
}

/* --- all of them ----------------------------------------------------------------------------- */

static const struct scenario {
    const char *name;
    void (*run)(void);
    bool allocates;
} scenarios[] = {
    {"spawn", spawn, true},
    {"locals", locals, true},
    {"channels", channels, true},
    {"timeout scope", timeout_scope, true},
    {"cancellable scope", cancellable_scope, true},
    {"spawn in a scope", spawn_in_scope, true},
    {"value scope", value_scope, true},
    {"shield scope", shield_scope, true},
    {"with_cancel", with_cancel, true},
    {"with_timeout", with_timeout, true},
    {"with_deadline", with_deadline, true},
    {"with_value", with_value, true},
    {"without_cancel", without_cancel, true},
    {"done", done, true},
    {"after", after, true},
    {"groups", groups, true},
    {"waitgroups", waitgroups, true},
    {"pools", pools, true},
    {"timers", timers, true},
    {"tickers", tickers, true},
    {"after_funcs", after_funcs, true},
    {"nothing allocated", nothing_allocated, false},
};

struct plan {
    const struct scenario *scenario;
    long nth;
    bool from;
};

static int body(void *arg)
{
    const struct plan *plan = arg;

    atomic_store(&calls, 0);
    EXPECT(gyre_chan_make(&gate, 0, 0) == 0);
    /* Two for the cases to use, and the first slab of stacks, whose coroutines wait at
     * the gate. */
    for (node_count = 0; node_count < 2; node_count++)
        EXPECT(gyre_context_with_cancel(gyre_context_background(), &nodes[node_count]) == 0);
    EXPECT(gyre_go(wait_at_gate, NULL) == 0);
    arm(1, true);
    use_up_nodes();
    use_up_stacks();
    arm(plan->nth, plan->from);
    plan->scenario->run();
    disarm();
    EXPECT(gyre_context_error() == 0 || plan->scenario->run == shield_scope);
    give_back_nodes();
    gyre_chan_close(gate.sender);
    /* Those at the gate still need it. */
    while (gyre_coro_count() > 1)
        gyre_yield();
    gyre_chan_release(gate);
    return 0;
}

/* How many allocations failed. */
static long run(const struct plan *plan, unsigned workers)
{
    static char name[100];
    struct gyre_test_options options = GYRE_TEST_OPTIONS_INIT;
    int result, before = atomic_load(&problems);

    snprintf(name, sizeof name, "%s, %s allocation %ld, workers %u", plan->scenario->name,
             plan->from ? "from" : "at", plan->nth, workers);
    now_running = name;
    alarm(60);
    options.workers = workers;
    options.real_clock = workers > 1;
    result = gyre_test_run(body, (void *)(uintptr_t)plan, &options);
    EXPECT(!result || atomic_load(&problems) != before);
    return atomic_load(&fault.failed);
}

static void on_signal(int signal)
{
    const char *what = signal == SIGALRM ? ": hangs\n" : ": crashes\n";

    (void)!write(STDERR_FILENO, now_running, strlen(now_running));
    (void)!write(STDERR_FILENO, what, strlen(what));
    _exit(1);
}

int main(int argc, char **argv)
{
    enum { MOST = 2 * MANY };
    long runs = 0;

    signal(SIGALRM, on_signal);
    signal(SIGABRT, on_signal);
    for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++) {
        const struct scenario *scenario = &scenarios[i];

        if (argc > 1 && strcmp(argv[1], scenario->name))
            continue;
        for (unsigned mode = 0; mode < 4; mode++) {
            struct plan plan = {scenario, 1, mode & 1};

            while (plan.nth <= MOST && run(&plan, 1 + mode / 2))
                plan.nth++;
            runs += plan.nth;
            if (plan.nth > MOST || (plan.nth == 1) == scenario->allocates) {
                fprintf(stderr, "%s: the first run without a failure is number %ld\n",
                        scenario->name, plan.nth);
                atomic_fetch_add(&problems, 1);
            }
        }
    }
    printf("%ld runs\n", runs);
    return atomic_load(&problems) != 0;
}
