/*
 * Storms of the program's own signals, to the process and to its threads, while everybody is
 * interrupted: each handler computes, signals come from interval timers, from another thread and
 * from children that end. No handler is interrupted to let another coroutine run, whichever stack
 * it is on, and each signal that is queued arrives.
 */
#include "storm.h"

#include <sys/time.h>
#include <sys/wait.h>

enum { QUEUED = 64 };

static _Atomic(unsigned long) handled, queued_sent, queued_got, ended;
static atomic_bool sender_stops;

static void compute_in_handler(int signal)
{
    const char *before = storm_inside;
    uint64_t x = (uint64_t)signal;
    int saved = errno;

    storm_inside = "a handler";
    for (int i = 0; i < 20000; i++)
        x = x * 0x9e3779b97f4a7c15u + 1;
    __asm__ volatile("" : : "r"(x));
    storm_inside = before;
    handled++;
    if (signal == SIGRTMIN + 3)
        queued_got++;
    errno = saved;
}

static void child_ended(int signal)
{
    int saved = errno, status;

    (void)signal;
    while (waitpid(-1, &status, WNOHANG) > 0) {
        STORM_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7, "status %#x", status);
        ended++;
    }
    errno = saved;
}

static int computes(struct storm_player *player)
{
    for (; !storm_over(); player->rounds++)
        for (int i = 0; i < 20; i++)
            storm_compute(&player->random);
    return 0;
}

static int sends(struct storm_player *player)
{
    for (; !storm_over(); player->rounds++) {
        if (queued_sent - queued_got < QUEUED &&
            !sigqueue(getpid(), SIGRTMIN + 3, (union sigval){0}))
            queued_sent++;
        kill(getpid(), SIGUSR1);
        raise(SIGUSR2);
        for (int i = 0; i < 20; i++)
            storm_compute(&player->random);
    }
    return 0;
}

static int forks(struct storm_player *player)
{
    do {
        pid_t pid = vfork();

        if (pid == 0)
            _exit(7);
        STORM_CHECK(pid > 0, "%s", strerror(errno));
        gyre_sleep(2 * GYRE_MILLISECOND);
        for (int i = 0; i < 100; i++)
            storm_compute(&player->random);
        player->rounds++;
    } while (!storm_over());
    return 0;
}

static void *send_from_outside(void *unused)
{
    const struct timespec pause = {0, 100000};
    sigset_t all;

    (void)unused;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    while (!sender_stops) {
        kill(getpid(), SIGUSR1);
        kill(getpid(), SIGUSR2);
        nanosleep(&pause, NULL);
    }
    return NULL;
}

static void after(const struct gyre_preempt_counts *counts)
{
    int64_t start = gyre_now();

    (void)counts;
    while ((queued_got < queued_sent || !ended) && gyre_now() - start < 10 * GYRE_SECOND)
        gyre_yield();
    STORM_CHECK(queued_got == queued_sent, "%lu of %lu queued signals", queued_got, queued_sent);
    STORM_CHECK(handled > 0 && ended > 0, "no signals");
}

int main(int argc, char **argv)
{
    static const struct storm_part parts[] = {
        {"computing", computes, 6}, {"sending", sends, 4}, {"children", forks, 2}};
    static const struct itimerval often = {{0, 700}, {0, 700}};
    const int signals[] = {SIGUSR1, SIGUSR2, SIGVTALRM, SIGRTMIN + 3};
    static const int flags[] = {SA_RESTART, SA_RESTART | SA_ONSTACK, SA_NODEFER | SA_RESTART,
                                SA_NODEFER | SA_RESTART | SA_ONSTACK};
    pthread_t sender;
    int result;

    for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
        sigaction(signals[i],
                  &(struct sigaction){.sa_handler = compute_in_handler, .sa_flags = flags[i]},
                  NULL);
    sigaction(SIGCHLD, &(struct sigaction){.sa_handler = child_ended, .sa_flags = SA_RESTART},
              NULL);
    setitimer(ITIMER_VIRTUAL, &often, NULL);
    pthread_create(&sender, NULL, send_from_outside, NULL);
    storm_settings.after = after;
    result = storm(argc, argv, parts, ARRAY_SIZE(parts));
    sender_stops = true;
    pthread_join(sender, NULL);
    return result;
}
