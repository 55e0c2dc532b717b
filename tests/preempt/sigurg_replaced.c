/*
 * A program that takes SIGURG for itself while coroutines run, which it should have done before
 * gyre_run: it is told once, nothing breaks, its handler gets what is sent and stays. One that
 * calls the handler it found from its own, as a library that keeps good manners does, loses nothing
 * at all: coroutines are interrupted as before.
 */
#include <gyre.h>
#include <gyre/preempt.h>

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static _Atomic(unsigned) sent, told;
static struct sigaction found;
static bool chains;
static atomic_bool over;

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

static void message(void *user, const char *line, size_t length)
{
    (void)user;
    if (memmem(line, length, "SIGURG", 6))
        told++;
}

static void handle(int signal, siginfo_t *info, void *context)
{
    if (info->si_code == SI_USER || info->si_code == SI_TKILL)
        sent++;
    if (chains)
        found.sa_sigaction(signal, info, context);
}

static int hog(void *arg)
{
    (void)arg;
    while (!over) {
        uint64_t x = 1;

        for (int i = 0; i < 100000; i++)
            x = x * 0x9e3779b97f4a7c15u + 1;
        __asm__ volatile("" : : "r"(x));
        if (!chains)
            gyre_checkpoint();
    }
    return 0;
}

static uint64_t interrupted(void)
{
    struct gyre_preempt_counts counts = {.size = sizeof counts};

    CHECK(!gyre_preempt_count(&counts));
    return counts.preempted;
}

static int body(void *arg)
{
    struct sigaction action = {.sa_sigaction = handle,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
    gyre_handle handles[3];
    uint64_t before;

    (void)arg;
    over = false;
    CHECK(!sigaction(SIGURG, &action, &found));
    CHECK((found.sa_flags & SA_SIGINFO) && found.sa_sigaction != handle);
    for (int i = 0; i < 3; i++)
        CHECK(!gyre_spawn(&handles[i], hog, NULL));
    sent = 0;
    raise(SIGURG);
    CHECK(sent == 1);
    before = interrupted();
    if (chains) {
        /* Each sleep ends only if all are interrupted. */
        for (int i = 0; i < 10; i++)
            gyre_sleep(GYRE_MILLISECOND);
        CHECK(interrupted() > before);
    } else {
        /* Long enough without a checkpoint for the watchdog to notice. */
        for (int64_t start = gyre_now(); !told && gyre_now() - start < 20 * GYRE_SECOND;)
            ;
        CHECK(told == 1);
        for (int i = 0; i < 10; i++)
            gyre_sleep(GYRE_MILLISECOND);
        CHECK(interrupted() == before);
    }
    raise(SIGURG);
    CHECK(sent == 2);
    over = true;
    for (int i = 0; i < 3; i++)
        gyre_join(handles[i], NULL);
    return 0;
}

int main(void)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;
    struct sigaction now;

    alarm(60);
    gyre_set_message_handler(message, NULL);
    for (int i = 0; i < 4; i++) {
        chains = i & 1;
        told = 0;
        signal(SIGURG, SIG_DFL);
        options.workers = i & 2 ? 3 : 1;
        CHECK(!gyre_run_options(body, NULL, &options));
        CHECK(!sigaction(SIGURG, NULL, &now) && now.sa_sigaction == handle);
        CHECK(told == !chains);
    }
    return 0;
}
