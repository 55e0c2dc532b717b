/*
 * SIGURG is the program's as well. A handler that it installed before gyre_run gets each signal
 * that is not gyre's, once, with its own siginfo and as its flags say, whoever sent it: kill,
 * raise, sigqueue, a timer of the program's, out-of-band data on a socket. And it is in place again
 * when gyre_run has returned.
 *
 * Two pending signals of one number and one target are one to the kernel. So the process gets one
 * at a time here; one that a thread sends itself may fall together with its tick, rarely.
 */
#include "storm.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>

static const struct variant {
    const char *name;
    bool handled;
    int flags;
    void (*other)(int);
} variants[] = {
    {"a handler", true, SA_SIGINFO | SA_RESTART, NULL},
    {"a handler on its own stack", true, SA_SIGINFO | SA_ONSTACK | SA_NODEFER, NULL},
    {"a handler for once", true, SA_SIGINFO | SA_RESETHAND, NULL},
    {"ignored", false, 0, SIG_IGN},
    {"the default", false, 0, SIG_DFL},
};

static const struct variant *variant;
static _Atomic(unsigned long) by_kill, by_queue, by_timer, by_kernel;
static _Thread_local volatile unsigned long by_raise;
static _Atomic(unsigned long) raised, missed;

static char queued, timed;

static void handle(int signal, siginfo_t *info, void *context)
{
    sigset_t mask;
    int saved = errno;

    STORM_CHECK(signal == SIGURG && info->si_signo == SIGURG && context, "signal %d", signal);
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    STORM_CHECK(sigismember(&mask, SIGUSR2), "its mask is not in force");
    STORM_CHECK(!sigismember(&mask, SIGUSR1), "more is blocked than it asked for");
    STORM_CHECK(sigismember(&mask, SIGURG) == !(variant->flags & SA_NODEFER), "SIGURG");
    switch (info->si_code) {
    case SI_USER:
        STORM_CHECK(info->si_pid == getpid() && info->si_uid == getuid(), "%d", info->si_pid);
        by_kill++;
        break;
    case SI_TKILL:
        by_raise++;
        break;
    case SI_QUEUE:
        STORM_CHECK(info->si_value.sival_ptr == &queued, "%p", info->si_value.sival_ptr);
        by_queue++;
        break;
    case SI_TIMER:
        STORM_CHECK(info->si_value.sival_ptr == &timed, "%p", info->si_value.sival_ptr);
        by_timer++;
        break;
    case SI_KERNEL:
        by_kernel++;
        break;
    default:
        storm_fail("code %d", info->si_code);
    }
    errno = saved;
}

/* Until it came; computing, so that there is something to interrupt. Then, that it came once. */
static void wait_for(struct storm_player *player, _Atomic(unsigned long) *count,
                     unsigned long wanted, const char *what)
{
    int64_t start = gyre_now();

    while (*count < wanted) {
        storm_compute(&player->random);
        if (gyre_now() - start > 20 * GYRE_SECOND)
            storm_fail("%s: a signal of %s is lost", variant->name, what);
        if (!storm_run.asynchronous)
            gyre_yield();
    }
    STORM_CHECK(*count == wanted, "%s: %lu of %lu signals of %s", variant->name, *count, wanted,
                what);
}

static void make_pair(int pair[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    STORM_CHECK(!bind(listener, (struct sockaddr *)&address, length) && !listen(listener, 1) &&
                    !getsockname(listener, (struct sockaddr *)&address, &length),
                "%s", strerror(errno));
    pair[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    STORM_CHECK(!connect(pair[0], (struct sockaddr *)&address, length), "%s", strerror(errno));
    pair[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    STORM_CHECK(!fcntl(pair[1], F_SETOWN, getpid()), "%s", strerror(errno));
    close(listener);
}

/* What any thread may get. */
static int sends_to_process(struct storm_player *player)
{
    struct itimerspec soon = {.it_value.tv_nsec = 300000};
    struct sigevent event = {
        .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGURG, .sigev_value.sival_ptr = &timed};
    unsigned long sent[4] = {by_kill, by_queue, by_timer, by_kernel};
    timer_t timer;
    int pair[2];

    make_pair(pair);
    STORM_CHECK(!timer_create(CLOCK_MONOTONIC, &event, &timer), "%s", strerror(errno));
    for (; !storm_over(); player->rounds++) {
        char byte;

        kill(getpid(), SIGURG);
        if (variant->handled)
            wait_for(player, &by_kill, ++sent[0], "kill");
        sigqueue(getpid(), SIGURG, (union sigval){.sival_ptr = &queued});
        if (variant->handled)
            wait_for(player, &by_queue, ++sent[1], "sigqueue");
        timer_settime(timer, 0, &soon, NULL);
        if (variant->handled)
            wait_for(player, &by_timer, ++sent[2], "a timer");
        STORM_CHECK(send(pair[0], "!", 1, MSG_OOB) == 1, "%s", strerror(errno));
        if (variant->handled)
            wait_for(player, &by_kernel, ++sent[3], "a socket");
        while (recv(pair[1], &byte, 1, MSG_OOB) != 1)
            STORM_CHECK(errno == EINVAL || errno == EAGAIN || errno == EINTR, "%s",
                        strerror(errno));
    }
    timer_delete(timer);
    close(pair[0]);
    close(pair[1]);
    return 0;
}

static int raises(struct storm_player *player)
{
    for (; !storm_over(); player->rounds++) {
        unsigned long before;

        gyre_preempt_off();
        before = by_raise;
        raise(SIGURG);
        if (by_raise == before)
            missed++;
        else
            STORM_CHECK(by_raise == before + 1, "%lu times", by_raise - before);
        gyre_preempt_on();
        raised++;
        storm_compute(&player->random);
    }
    return 0;
}

/* One of all that are sent reaches a handler with SA_RESETHAND. */
static int sends_many(struct storm_player *player)
{
    do {
        kill(getpid(), SIGURG);
        for (int i = 0; i < 10; i++)
            storm_compute(&player->random);
        player->rounds++;
    } while (!storm_over());
    return 0;
}

static void after(const struct gyre_preempt_counts *counts)
{
    (void)counts;
    if (variant->handled && !(variant->flags & SA_RESETHAND))
        STORM_CHECK(missed <= 5 + raised / 4, "%lu of %lu missed", missed, raised);
}

static int run(int argc, char **argv)
{
    static const struct storm_part each[] = {{"to the process", sends_to_process, 1},
                                             {"to the thread", raises, 3}};
    static const struct storm_part once[] = {{"many", sends_many, 3}};
    bool for_once = (variant->flags & SA_RESETHAND) != 0;
    struct sigaction action = {.sa_flags = variant->flags}, now;
    int result;

    if (variant->handled)
        action.sa_sigaction = handle;
    else
        action.sa_handler = variant->other;
    sigaddset(&action.sa_mask, SIGUSR2);
    by_kill = by_queue = by_timer = by_kernel = raised = missed = 0;
    sigaction(SIGURG, &action, NULL);
    result = for_once ? storm(argc, argv, once, ARRAY_SIZE(once))
                      : storm(argc, argv, each, ARRAY_SIZE(each));
    sigaction(SIGURG, NULL, &now);
    printf("%s: %lu + %lu + %lu + %lu to the process, %lu raised, %lu coalesced\n", variant->name,
           by_kill, by_queue, by_timer, by_kernel, raised, missed);
    if (for_once) {
        STORM_CHECK(by_kill == 1, "%lu times", by_kill);
        STORM_CHECK(now.sa_handler == SIG_DFL, "the handler is there again");
    } else {
        STORM_CHECK(variant->handled ? now.sa_sigaction == handle
                                     : now.sa_handler == variant->other,
                    "the handler is not as it was");
        STORM_CHECK((now.sa_flags & ~0x04000000) == variant->flags, "%#x", now.sa_flags);
        STORM_CHECK(sigismember(&now.sa_mask, SIGUSR2) == 1, "its mask is lost");
    }
    return result;
}

int main(int argc, char **argv)
{
    const char *seconds = argc > 1 ? argv[1] : "3";
    char slice[32];
    char *arguments[] = {argv[0], slice, argc > 2 ? argv[2] : NULL, NULL};
    int result = 0;

    snprintf(slice, sizeof slice, "%f",
             (strcmp(seconds, "long") == 0 ? 180 : atof(seconds)) / ARRAY_SIZE(variants));
    storm_settings.after = after;
    for (size_t i = 0; i < ARRAY_SIZE(variants); i++) {
        variant = &variants[i];
        result = run(argc > 2 ? 3 : 2, arguments);
    }
    return result;
}
