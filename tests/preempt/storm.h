/*
 * For programs that are to be corrupted or deadlocked by being interrupted: parts, each run by a
 * few coroutines, beside hogs that only compute, with 1 and with 5 workers and a quantum of 200 us.
 *
 *   usage: PROGRAM [SECONDS | long] [SEED]
 *
 * Seconds in all (1; long: 180). 0: all is as it should be; 77: nothing is interrupted here, and
 * nothing went wrong either; else a message. A hang becomes one, with the seed.
 *
 * What may not be interrupted brackets itself with storm_enter and storm_leave, and must not park
 * in between: whoever computes on that thread meanwhile says so.
 */
#ifndef GYRE_TESTS_PREEMPT_STORM_H
#define GYRE_TESTS_PREEMPT_STORM_H

#include "base/macros.h"
#include "base/random.h"

#include <gyre.h>
#include <gyre/preempt.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

struct storm_player {
    const struct storm_part *part;
    unsigned index; /* among those of the part */
    struct random random;
    uint64_t rounds;
};

struct storm_part {
    const char *name;
    int (*play)(struct storm_player *player); /* until storm_over(); 0 */
    unsigned copies;
};

/* What a program sets before storm(), if it wants. */
static struct storm_settings {
    unsigned hogs; /* a worker; 0: 1 */
    bool no_hogs;
    size_t stack_size; /* of the players */
    /* In the main coroutine: before the others start, while they run, when they have ended. */
    void (*before)(void);
    void (*during)(void);
    void (*finish)(void);
    /* Only where it is asynchronous. What has still not happened that must, or NULL: it goes on
     * until then, though not for ever. */
    const char *(*missing)(const struct gyre_preempt_counts *counts);
    void (*after)(const struct gyre_preempt_counts *counts);
    bool cooperative; /* nothing may be interrupted */
} storm_settings;

static struct {
    const char *program;
    uint64_t seed;
    int64_t end, slice;
    bool asynchronous;
    char mode[64];
    const struct storm_part *parts;
    size_t part_count;
} storm_run;

/* Relaxed: only its own thread looks. */
static _Thread_local _Atomic(const char *) storm_inside;

/* Says what is wrong and ends the program. Not through stdio: who fails may have interrupted
 * somebody inside it. */
__attribute__((format(printf, 4, 5), noreturn, unused)) static void
storm_fail_at(const char *file, int line, const char *condition, const char *format, ...)
{
    char text[1024];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    dprintf(STDERR_FILENO, "%s:%d: %s%s (seed %#llx)\n", file, line, condition, text,
            (unsigned long long)storm_run.seed);
    if (getenv("STORM_ABORT"))
        abort();
    _exit(1);
}

#define storm_fail(...) storm_fail_at(__FILE__, __LINE__, "", __VA_ARGS__)

#define STORM_CHECK(condition, ...)                                                                \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0))                                                     \
            storm_fail_at(__FILE__, __LINE__, #condition ": ", __VA_ARGS__);                       \
    } while (0)

static inline bool storm_counts(struct gyre_preempt_counts *counts)
{
    *counts = (struct gyre_preempt_counts){.size = sizeof *counts};
    STORM_CHECK(!gyre_preempt_count(counts), "no counts");
    return strcmp(counts->mode, "asynchronous") == 0;
}

static inline const char *storm_missing(void)
{
    struct gyre_preempt_counts counts;

    if (!storm_counts(&counts))
        return NULL;
    if (counts.preempted == 0)
        return "nothing was interrupted";
    return storm_settings.missing ? storm_settings.missing(&counts) : NULL;
}

/* Whether to end. Where nothing is interrupted the others have their turn here. */
static inline bool storm_over(void)
{
    int64_t late;

    if (!storm_run.asynchronous)
        gyre_yield();
    late = gyre_now() - storm_run.end;
    return late >= 0 && (late > 20 * GYRE_SECOND || !storm_missing());
}

/* Round what must not be interrupted. Not inlined: the caller may have moved to another thread
 * since the last time. */
static __attribute__((noinline, unused)) void storm_enter(const char *what)
{
    atomic_store_explicit(&storm_inside, what, memory_order_relaxed);
}

static __attribute__((noinline, unused)) void storm_leave(void)
{
    atomic_store_explicit(&storm_inside, NULL, memory_order_relaxed);
}

static __attribute__((noinline)) void storm_look(void)
{
    const char *inside = atomic_load_explicit(&storm_inside, memory_order_relaxed);

    STORM_CHECK(!inside, "%s was interrupted", inside);
}

/* A computation that checks itself, for each step can be undone: up to some 20 us. */
static __attribute__((noinline)) void storm_work(struct random *random)
{
    enum { STEPS = 3000 };
    const uint64_t multiplier = 0x9e3779b97f4a7c15u, inverse = 0xf1de83e19937733du;
    uint64_t start = random_next(random), x = start, key = random_next(random);
    unsigned steps = random_below(random, STEPS);

    for (unsigned i = 0; i < steps; i++) {
        x = (x ^ (x >> 32)) * multiplier;
        x = (x << 23 | x >> 41) + key + i;
    }
    for (unsigned i = steps; i-- > 0;) {
        x = x - key - i;
        x = (x >> 23 | x << 41) * inverse;
        x ^= x >> 32;
    }
    STORM_CHECK(x == start, "computed %#llx instead", (unsigned long long)x);
}

/* The same outside of what must not be interrupted. */
static inline void storm_compute(struct random *random)
{
    storm_look();
    storm_work(random);
    storm_look();
}

/* Computes for a few quanta, without a call into the runtime. */
static int storm_hog(void *arg)
{
    struct random random = {storm_run.seed ^ (uintptr_t)arg};

    while (!storm_over())
        for (int i = 0; i < 100; i++)
            storm_compute(&random);
    return 0;
}

static int storm_player(void *arg)
{
    struct storm_player *player = arg;

    return player->part->play(player);
}

static void storm_hangs(int signal)
{
    (void)signal;
    dprintf(STDERR_FILENO, "%s hangs (seed %#llx)\n", storm_run.program,
            (unsigned long long)storm_run.seed);
    if (getenv("STORM_ABORT"))
        abort();
    _exit(1);
}

static inline void storm_report(const struct gyre_preempt_counts *counts)
{
    printf("%u workers: %llu ticks, %llu preempted, %llu confirmed, %llu gave way;",
           gyre_worker_count(), (unsigned long long)counts->ticks,
           (unsigned long long)counts->preempted, (unsigned long long)counts->confirmed,
           (unsigned long long)counts->gave_way);
    for (int i = 0; i < GYRE_REFUSAL_COUNT; i++)
        if (counts->refused[i])
            printf(" %llu %s;", (unsigned long long)counts->refused[i],
                   gyre_refusal_name((enum gyre_refusal)i));
    printf("\n");
}

static int storm_main(void *arg)
{
    struct gyre_preempt_counts counts;
    struct gyre_spawn_options options = GYRE_SPAWN_INIT;
    const char *missing;
    gyre_handle handles[128];
    struct storm_player players[128];
    unsigned count = 0, started = 0;
    unsigned hogs = storm_settings.hogs ? storm_settings.hogs : 1;

    (void)arg;
    storm_run.asynchronous = storm_counts(&counts);
    STORM_CHECK(!storm_run.asynchronous || !storm_settings.cooperative, "is not cooperative");
    snprintf(storm_run.mode, sizeof storm_run.mode, "%s", counts.mode);
    if (storm_settings.before)
        storm_settings.before();
    storm_run.end = gyre_now() + storm_run.slice;
    options.stack_size = storm_settings.stack_size;
    for (size_t i = 0; i < storm_run.part_count; i++) {
        const struct storm_part *part = &storm_run.parts[i];

        for (unsigned k = 0; k < part->copies; k++, started++) {
            players[started] =
                (struct storm_player){part, k, {storm_run.seed + 1000 * (i + 1) + k}, 0};
            options.name = part->name;
            STORM_CHECK(
                !gyre_spawn_options(&handles[count++], storm_player, &players[started], &options),
                "no memory");
        }
    }
    if (storm_settings.no_hogs)
        hogs = 0;
    hogs *= gyre_worker_count();
    for (unsigned i = 0; i < hogs && count < ARRAY_SIZE(handles); i++)
        STORM_CHECK(!gyre_spawn(&handles[count++], storm_hog, (void *)(uintptr_t)i), "no memory");
    if (storm_settings.during)
        storm_settings.during();
    while (count > 0) {
        int result;

        STORM_CHECK(!gyre_join(handles[--count], &result), "not joined");
        STORM_CHECK(result == 0, "a coroutine gave %d", result);
    }
    for (unsigned i = 0; i < started; i++)
        if (i == 0 || players[i].part != players[i - 1].part) {
            uint64_t rounds = 0;

            for (unsigned k = i; k < started && players[k].part == players[i].part; k++)
                rounds += players[k].rounds;
            printf("%s: %llu\n", players[i].part->name, (unsigned long long)rounds);
        }
    if (storm_settings.finish)
        storm_settings.finish();
    storm_counts(&counts);
    storm_report(&counts);
    missing = storm_missing();
    STORM_CHECK(!missing, "%s", missing);
    if (storm_run.asynchronous && storm_settings.after)
        storm_settings.after(&counts);
    return 0;
}

/* main's body. */
static inline int storm(int argc, char **argv, const struct storm_part *parts, size_t part_count)
{
    static const unsigned workers[] = {1, 5};
    const char *seconds = argc > 1 ? argv[1] : "1";
    double duration = strcmp(seconds, "long") == 0 ? 180 : atof(seconds);

    storm_run.program = argv[0];
    storm_run.parts = parts;
    storm_run.part_count = part_count;
    storm_run.slice = (int64_t)(duration / ARRAY_SIZE(workers) * 1e9);
    if (argc > 2)
        storm_run.seed = strtoull(argv[2], NULL, 0);
    else if (getrandom(&storm_run.seed, sizeof storm_run.seed, 0) < 0)
        storm_run.seed = (uint64_t)getpid();
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("seed %#llx\n", (unsigned long long)storm_run.seed);
    sigaction(SIGALRM, &(struct sigaction){.sa_handler = storm_hangs, .sa_flags = SA_ONSTACK},
              NULL);
    for (size_t i = 0; i < ARRAY_SIZE(workers); i++) {
        struct gyre_options options = GYRE_OPTIONS_INIT;

        options.workers = workers[i];
        options.seed = storm_run.seed | 1;
        options.quantum = 200 * GYRE_MICROSECOND;
        alarm(60 + (unsigned)duration);
        STORM_CHECK(!gyre_run_options(storm_main, NULL, &options), "gyre_run failed");
    }
    alarm(0);
    if (storm_run.asynchronous || storm_settings.cooperative)
        return 0;
    printf("nothing is interrupted: %s\n", storm_run.mode);
    return 77;
}

#endif
