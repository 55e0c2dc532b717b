/*
 * The end of a context against everything that happens in its tree meanwhile.
 *
 * A tree of coroutines and scopes, at most LIVE of them, grows by chance, while others end parts of
 * it, by coroutines and by a foreign thread; when a scope is left all that grew inside must end.
 * Aimed at: linking a child against its parent's end; leaving against a timer that fires; spawning
 * into an ended context; ending oneself while the walk holds one's record; handles that outlive
 * all.
 */
#include "stress.h"

enum { LIVE = 150, SHARED = 8 };

static _Atomic(int) live;
static _Atomic(uint64_t) scopes, cancels;
static _Atomic(struct gyre_context *) shared[SHARED]; /* what the cancellers aim at */
static _Atomic(bool) over;

/* Puts the ambient context, or nothing, in the place of another one, which the caller gets. */
static struct gyre_context *swap(struct random *random, struct gyre_context *context)
{
    return atomic_exchange(&shared[random_below(random, SHARED)], context);
}

static void check(int error)
{
    CHECK(!error || error == -ECANCELED || error == -ETIMEDOUT, "%d", error);
}

static int grow(void *arg);

static void park_somehow(struct random *random, gyre_handle *handle, bool *joinable)
{
    switch (random_below(random, 6)) {
    case 0:
        check(gyre_yield());
        break;
    case 1:
        check(gyre_sleep(random_below(random, 100000)));
        break;
    case 2:
        check(gyre_sleep(GYRE_HOUR));
        break;
    case 3:
        if (*joinable)
            *joinable = gyre_join(*handle, NULL) != 0;
        break;
    case 4: {
        GYRE_SHIELD();
        CHECK(!gyre_sleep(random_below(random, 20000)), "a shield let something in");
        break;
    }
    default:
        stress_pause(random);
    }
}

static void in_scope(struct random *random, intptr_t depth)
{
    gyre_handle handle;
    bool joinable = false;
    struct gyre_context *here;

    for (unsigned i = random_below(random, 3); i; i--) {
        if (atomic_fetch_add(&live, 1) >= LIVE) {
            atomic_fetch_sub(&live, 1);
            continue;
        }
        if (!joinable) {
            CHECK(!gyre_spawn(&handle, grow, (void *)(depth + 1)), "no memory");
            joinable = true;
        } else {
            CHECK(!gyre_go(grow, (void *)(depth + 1)), "no memory");
        }
    }
    here = swap(random, random_below(random, 2) ? gyre_context_current() : NULL);
    if (here && random_below(random, 2)) {
        GYRE_WITH_CONTEXT(here);
        check(gyre_sleep(random_below(random, 50000)));
    }
    gyre_context_release(here);
    for (unsigned i = random_below(random, 3); i; i--)
        park_somehow(random, &handle, &joinable);
    if (joinable)
        gyre_detach(handle);
}

static void enter(struct random *random, intptr_t depth)
{
    int before = gyre_context_error();

    {
        struct gyre_scope scope __attribute__((cleanup(gyre_scope_leave))) =
            random_below(random, 2) ? gyre_scope_timeout(random_below(random, 200000))
                                    : gyre_scope_cancellable();

        (void)scope;
        atomic_fetch_add(&scopes, 1);
        CHECK(!before || gyre_context_error() == before, "an inner scope of an ended one goes on");
        if (random_below(random, 4) == 0)
            enter(random, depth);
        else
            in_scope(random, depth);
    }
    CHECK(!before || gyre_context_error() == before, "the reason changed");
}

static int grow(void *arg)
{
    struct random random = stress_random();

    for (unsigned i = 1 + random_below(&random, 2); i && (intptr_t)arg < 6; i--)
        enter(&random, (intptr_t)arg);
    atomic_fetch_sub(&live, 1);
    return 0;
}

static void cancel_some(struct random *random)
{
    struct gyre_context *context = swap(random, NULL);

    stress_pause(random);
    if (context && random_below(random, 4)) {
        gyre_context_cancel(context);
        atomic_fetch_add(&cancels, 1);
    }
    gyre_context_release(context);
}

static int canceller(void *arg)
{
    struct random random = stress_random();

    (void)arg;
    while (!atomic_load(&over)) {
        cancel_some(&random);
        gyre_yield();
    }
    return 0;
}

static void *foreign_canceller(void *arg)
{
    struct random random = stress_random();

    (void)arg;
    while (!atomic_load(&over)) {
        cancel_some(&random);
        if (random_below(&random, 50) == 0)
            sched_yield();
    }
    return NULL;
}

static int rounds(void *arg)
{
    struct random random = stress_random();
    pthread_t thread;
    gyre_handle handle;

    (void)arg;
    atomic_store(&over, false);
    thread = race_thread(foreign_canceller, NULL);
    CHECK(!gyre_spawn(&handle, canceller, NULL), "no memory");
    while (stress_goes_on()) {
        {
            GYRE_CANCELLABLE();
            atomic_fetch_add(&live, 10);
            for (int k = 0; k < 10; k++)
                CHECK(!gyre_go(grow, NULL), "no memory");
            gyre_sleep(random_below(&random, 300000));
        }
        /* All have been ended: who sleeps for an hour, or waits for such a one, wakes. */
        while (atomic_load(&live))
            CHECK(!gyre_yield(), "the outer context ended");
    }
    atomic_store(&over, true);
    CHECK(!gyre_join(handle, NULL), "join");
    pthread_join(thread, NULL);
    for (int i = 0; i < SHARED; i++)
        gyre_context_release(atomic_exchange(&shared[i], NULL));
    return 0;
}

int main(int argc, char **argv)
{
    stress_begin(argc, argv);
    stress_run("trees", rounds);
    printf("%llu scopes, %llu cancelled\n", (unsigned long long)scopes,
           (unsigned long long)cancels);
    return 0;
}
