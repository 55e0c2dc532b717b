/*
 * Timers and after-funcs are stopped and reset by several coroutines and by a thread at the moment
 * they fire, and destroyed there.
 *
 * Accounts: each create and reset begins a run. Each run either gives one value (or one call), or
 * a stop or a reset takes it away and says 1; never both, never neither. Nothing that fired before
 * a stop is received after it. Windows aimed at: a stop between the wheel's callback being taken
 * off and its getting the channel's lock; a reset there, to a wheel of another worker, so that two
 * callbacks of one timer are under way; a release there, which leaves the block to the callback;
 * the last release by a receiver against a stop.
 */
#include "../sched/stress.h"

enum { TIMERS = 16, USERS = 8, NEAR = 30000 };

struct account {
    struct gyre_timer *timer;
    _Atomic(int64_t) begun, taken, given;
};

static struct account accounts[TIMERS];
static atomic_int users_left;
static atomic_bool thread_goes_on;

/* Mostly due at about the time when the next one looks at it. */
static int64_t soon(struct random *random)
{
    return (int64_t)random_below(random, NEAR);
}

static void note(_Atomic(int64_t) *count, int64_t more)
{
    atomic_fetch_add_explicit(count, more, memory_order_relaxed);
}

static void receive(struct account *account, struct random *random)
{
    struct gyre_case cases[] = {
        gyre_case_recv(gyre_timer_channel(account->timer), NULL),
        gyre_case_after(soon(random)),
    };

    if (gyre_select(cases) == 0)
        note(&account->given, 1);
}

static void try_receive(struct account *account)
{
    if (gyre_chan_try_recv(gyre_timer_channel(account->timer), NULL) == 1)
        note(&account->given, 1);
}

static int use(void *arg)
{
    struct random random = stress_random();

    (void)arg;
    while (stress_goes_on()) {
        struct account *account = &accounts[random_below(&random, TIMERS)];

        switch (random_below(&random, 6)) {
        case 0:
        case 1:
            note(&account->begun, 1);
            note(&account->taken, gyre_timer_reset(account->timer, soon(&random)));
            break;
        case 2:
            note(&account->taken, gyre_timer_stop(account->timer));
            break;
        case 3:
            receive(account, &random);
            break;
        case 4:
            try_receive(account);
            break;
        default:
            gyre_sleep(soon(&random));
        }
    }
    atomic_fetch_sub(&users_left, 1);
    return 0;
}

static void *use_from_a_thread(void *arg)
{
    struct random random = stress_random();

    (void)arg;
    while (atomic_load(&thread_goes_on)) {
        struct account *account = &accounts[random_below(&random, TIMERS)];

        if (random_below(&random, 2))
            note(&account->taken, gyre_timer_stop(account->timer));
        else
            try_receive(account);
        stress_pause(&random);
        sched_yield();
    }
    return NULL;
}

static void settle(struct account *account)
{
    note(&account->taken, gyre_timer_stop(account->timer));
    CHECK(gyre_chan_try_recv(gyre_timer_channel(account->timer), NULL) == -EAGAIN, "stale");
    CHECK(gyre_timer_stop(account->timer) == 0, "stopped, and yet running");
    CHECK(account->begun == account->taken + account->given, "begun %lld, taken %lld, given %lld",
          (long long)account->begun, (long long)account->taken, (long long)account->given);
    gyre_timer_destroy(account->timer);
}

static int share(void *arg)
{
    pthread_t thread;

    (void)arg;
    for (int i = 0; i < TIMERS; i++) {
        accounts[i] = (struct account){.begun = 1};
        CHECK(!gyre_timer_create(&accounts[i].timer, 0), "no memory");
    }
    atomic_store(&users_left, USERS);
    atomic_store(&thread_goes_on, true);
    thread = race_thread(use_from_a_thread, NULL);
    for (int i = 0; i < USERS; i++)
        CHECK(!gyre_go(use, NULL), "no coroutine");
    while (atomic_load(&users_left))
        gyre_sleep(GYRE_MILLISECOND);
    atomic_store(&thread_goes_on, false);
    pthread_join(thread, NULL);
    for (int i = 0; i < TIMERS; i++)
        settle(&accounts[i]);
    return 0;
}

/* --- one user a timer: nothing stale, and memory --------------------------------------------- */

/* After a stop or a reset that follows `stopped_at`, no older moment is received. */
static void own_once(struct random *random)
{
    int64_t started = gyre_now(), duration = soon(random), moment = 0;
    struct gyre_timer *timer;
    gyre_receiver receiver;

    CHECK(!gyre_timer_create(&timer, duration), "no memory");
    receiver = gyre_timer_channel(timer);
    if (random_below(random, 2))
        gyre_sleep(soon(random));
    else
        gyre_yield(); /* perhaps to another worker than the one whose wheel it is on */
    if (random_below(random, 4)) {
        while (gyre_now() < started + duration)
            cpu_relax();
        stress_pause(random);
    }
    switch (random_below(random, 4)) {
    case 0:
        CHECK(gyre_timer_stop(timer) == 1, "nobody received it");
        CHECK(gyre_chan_try_recv(receiver, &moment) == -EAGAIN, "stale");
        gyre_yield();
        CHECK(gyre_chan_try_recv(receiver, &moment) == -EAGAIN, "stale");
        break;
    case 1:
        for (int i = 0; i < 3; i++) {
            started = gyre_now();
            duration = soon(random);
            CHECK(gyre_timer_reset(timer, duration) == 1, "nobody received it");
            stress_pause(random);
        }
        CHECK(gyre_chan_recv(receiver, &moment) == 1, "nothing");
        CHECK(moment >= started + duration, "stale");
        CHECK(gyre_timer_stop(timer) == 0, "received, and yet there");
        break;
    case 2:
        CHECK(gyre_chan_recv(receiver, &moment) == 1, "nothing");
        CHECK(moment >= started + duration, "early");
        break;
    default:
        break;
    }
    gyre_timer_destroy(timer);
}

static void tick_once(struct random *random)
{
    int64_t period = soon(random) + 1000, begun = gyre_now(), moment = 0;
    struct gyre_ticker *ticker;
    gyre_receiver receiver;

    CHECK(!gyre_ticker_create(&ticker, period), "no memory");
    receiver = gyre_ticker_channel(ticker);
    for (int i = 0; i < 3; i++) {
        CHECK(gyre_chan_recv(receiver, &moment) == 1, "nothing");
        CHECK(moment >= begun + period, "early");
        if (random_below(random, 2))
            continue;
        begun = gyre_now();
        gyre_ticker_reset(ticker, period);
    }
    gyre_ticker_stop(ticker);
    CHECK(gyre_chan_try_recv(receiver, &moment) == -EAGAIN, "stale");
    gyre_ticker_destroy(ticker);
}

static void wait_once(struct random *random)
{
    gyre_receiver receiver;
    struct gyre_case cases[2];

    CHECK(!gyre_after(&receiver, soon(random)), "no memory");
    cases[0] = gyre_case_recv(receiver, NULL);
    cases[1] = gyre_case_after(soon(random));
    gyre_select(cases);
    gyre_chan_release_receiver(receiver);
}

static int own(void *arg)
{
    struct random random = stress_random();

    (void)arg;
    while (stress_goes_on()) {
        unsigned which = random_below(&random, 8);

        if (which == 0)
            tick_once(&random);
        else if (which < 3)
            wait_once(&random);
        else
            own_once(&random);
    }
    atomic_fetch_sub(&users_left, 1);
    return 0;
}

static int own_all(void *arg)
{
    (void)arg;
    atomic_store(&users_left, USERS);
    for (int i = 0; i < USERS; i++)
        CHECK(!gyre_go(own, NULL), "no coroutine");
    while (atomic_load(&users_left))
        gyre_sleep(GYRE_MILLISECOND);
    return 0;
}

/* --- after-funcs ----------------------------------------------------------------------------- */

static _Atomic(int64_t) called;

static int call(void *arg)
{
    (void)arg;
    atomic_fetch_add(&called, 1);
    return 0;
}

static _Atomic(int64_t) calls_due;

static int call_off(void *arg)
{
    struct random random = stress_random();

    (void)arg;
    while (stress_goes_on()) {
        struct gyre_timer *timer;
        int64_t runs = 1;

        CHECK(!gyre_after_func(&timer, soon(&random), call, NULL), "no memory");
        for (unsigned i = random_below(&random, 4); i; i--) {
            if (random_below(&random, 2))
                gyre_sleep(soon(&random));
            else
                gyre_yield();
            stress_pause(&random);
            runs += 1 - gyre_timer_reset(timer, soon(&random));
        }
        stress_pause(&random);
        runs -= gyre_timer_stop(timer);
        gyre_timer_destroy(timer);
        atomic_fetch_add(&calls_due, runs);
    }
    atomic_fetch_sub(&users_left, 1);
    return 0;
}

static int call_off_all(void *arg)
{
    (void)arg;
    atomic_store(&called, 0);
    atomic_store(&calls_due, 0);
    atomic_store(&users_left, USERS);
    for (int i = 0; i < USERS; i++)
        CHECK(!gyre_go(call_off, NULL), "no coroutine");
    while (atomic_load(&users_left) || atomic_load(&called) < atomic_load(&calls_due))
        gyre_sleep(GYRE_MILLISECOND);
    while (gyre_coro_count() > 1)
        gyre_yield();
    CHECK(called == calls_due, "called %lld times, not %lld", (long long)called,
          (long long)calls_due);
    return 0;
}

int main(int argc, char **argv)
{
    stress_begin(argc, argv);
    stress_slice /= 3;
    stress_run("sharing", share);
    stress_run("owning", own_all);
    stress_run("calling off", call_off_all);
    return 0;
}
