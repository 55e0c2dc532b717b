/*
 * No wake is lost: handovers between who sleeps and who works.
 *
 * Between two handovers everybody has time to fall asleep, or is just about to; a single wake that
 * is lost ends it all, and the watchdog says so. Between foreign threads and workers (injection),
 * between workers (pinned coroutines; the slot, the deque, steals), and by cancel messages.
 */
#include "stress.h"

#include "baton.h"

#include <linux/futex.h>
#include <sys/syscall.h>

enum { FOREIGN_THREADS = 3, RING = 7, RING_ROUNDS = 100 };

static struct gyre_runtime *runtime;

/* --- foreign threads and workers ---------------------------------------------------------------
 */

struct foreign {
    _Atomic(uint32_t) ran; /* a futex */
    struct random random;
};

static int note_run(void *arg)
{
    struct foreign *foreign = arg;

    atomic_fetch_add_explicit(&foreign->ran, 1, memory_order_release);
    syscall(SYS_futex, &foreign->ran, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    return 0;
}

static void *spawn_and_wait(void *arg)
{
    struct foreign foreign = {0, stress_random()};
    uint32_t spawned = 0, ran;

    while (stress_goes_on()) {
        for (unsigned burst = 1 + random_below(&foreign.random, 3); burst; burst--, spawned++)
            CHECK(!gyre_runtime_go(runtime, note_run, &foreign), "no memory");
        if (random_below(&foreign.random, 2))
            stress_pause(&foreign.random);
        while ((ran = atomic_load_explicit(&foreign.ran, memory_order_acquire)) < spawned)
            syscall(SYS_futex, &foreign.ran, FUTEX_WAIT_PRIVATE, ran, NULL, NULL, 0);
    }
    baton_give(arg);
    return NULL;
}

static int foreign_threads(void *arg)
{
    pthread_t threads[FOREIGN_THREADS];
    struct baton ended;

    (void)arg;
    runtime = gyre_runtime_current();
    baton_init(&ended);
    for (int i = 0; i < FOREIGN_THREADS; i++)
        threads[i] = race_thread(spawn_and_wait, &ended);
    for (int i = 0; i < FOREIGN_THREADS; i++)
        CHECK(!baton_take(&ended), "interrupted");
    for (int i = 0; i < FOREIGN_THREADS; i++)
        pthread_join(threads[i], NULL);
    return 0;
}

/* --- between workers ---------------------------------------------------------------------------
 */

struct member {
    struct baton mine, *next;
};

static int pass_on(void *arg)
{
    struct member *member = arg;
    struct random random = stress_random();

    for (int i = 0; i < RING_ROUNDS; i++) {
        CHECK(!baton_take(&member->mine), "interrupted");
        if (random_below(&random, 8) == 0)
            stress_pause(&random);
        baton_give(member->next);
    }
    return 0;
}

/* A ring of coroutines with one baton: all workers but one are asleep, or nearly. */
static void ring(unsigned flags, int batons)
{
    struct gyre_spawn_options options = GYRE_SPAWN_INIT;
    struct member members[RING];
    gyre_handle handles[RING];

    options.flags = flags;
    for (int i = 0; i < RING; i++) {
        baton_init(&members[i].mine);
        members[i].next = &members[(i + 1) % RING].mine;
    }
    for (unsigned i = 0; i < RING; i++) {
        options.worker = flags & GYRE_SPAWN_PINNED ? 1 + i % gyre_worker_count() : 0;
        CHECK(!gyre_spawn_options(&handles[i], pass_on, &members[i], &options), "no memory");
    }
    for (int i = 0; i < batons; i++)
        baton_give(&members[i].mine);
    for (int i = 0; i < RING; i++)
        CHECK(!gyre_join(handles[i], NULL), "join");
}

static int pinned_ring(void *arg)
{
    (void)arg;
    for (int batons = 1; stress_goes_on(); batons ^= 2)
        ring(GYRE_SPAWN_PINNED, batons);
    return 0;
}

static int free_ring(void *arg)
{
    (void)arg;
    for (int batons = 1; stress_goes_on(); batons ^= 2)
        ring(0, batons);
    return 0;
}

/* --- between hogs ------------------------------------------------------------------------------
 */

static _Atomic(unsigned) meeting;

/* Each ends only when another one runs: what is spawned must reach a worker that is free. */
static int meet(void *arg)
{
    (void)arg;
    atomic_fetch_add(&meeting, 1);
    while (atomic_load(&meeting) < 2)
        sched_yield();
    return 0;
}

static int meetings(void *arg)
{
    struct random random = stress_random();
    gyre_handle handles[2];

    (void)arg;
    if (gyre_worker_count() == 1)
        return 0;
    while (stress_goes_on()) {
        atomic_store(&meeting, 0);
        for (int k = 0; k < 2; k++) {
            CHECK(!gyre_spawn(&handles[k], meet, NULL), "no memory");
            if (random_below(&random, 4) == 0)
                stress_pause(&random);
        }
        for (int k = 0; k < 2; k++)
            CHECK(!gyre_join(handles[k], NULL), "join");
        if (random_below(&random, 16) == 0)
            gyre_sleep(random_below(&random, 200000));
    }
    return 0;
}

int main(int argc, char **argv)
{
    stress_begin(argc, argv);
    stress_run("foreign threads", foreign_threads);
    stress_run("a ring of pinned ones", pinned_ring);
    stress_run("a ring", free_ring);
    stress_run("meetings", meetings);
    return 0;
}
