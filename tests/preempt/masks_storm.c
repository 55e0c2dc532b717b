/*
 * A coroutine that changed its thread's signal mask is not interrupted until it has put it back:
 * others would run with its mask, and it would go on with theirs. Whatever runs on the thread
 * meanwhile would see it by storm_inside; afterwards it is interrupted as before.
 */
#include "storm.h"

/* SIGUSR1 alone; all of them, SIGURG too, for which the timer's signal then waits; or one fewer. */
static void change(unsigned kind, sigset_t *before)
{
    sigset_t set;

    sigemptyset(&set);
    switch (kind % 3) {
    case 0:
        sigaddset(&set, SIGUSR1);
        pthread_sigmask(SIG_BLOCK, &set, before);
        break;
    case 1:
        sigfillset(&set);
        sigprocmask(SIG_SETMASK, &set, before);
        break;
    case 2:
        sigaddset(&set, SIGRTMAX);
        sigprocmask(SIG_BLOCK, &set, before);
        break;
    }
}

static int blocks(struct storm_player *player)
{
    for (; !storm_over(); player->rounds++) {
        sigset_t before, now;
        unsigned worker = gyre_worker_index();
        int one_of_them = player->rounds % 3 == 2 ? SIGRTMAX : SIGUSR1;
        const char *inside = "who blocked signals";

        change((unsigned)player->rounds, &before);
        storm_enter(inside);
        for (int i = 0; i < 40; i++) {
            /* Not storm_compute, which would find us. */
            uint64_t x = player->rounds;

            for (int k = 0; k < 20000; k++)
                x = x * 0x9e3779b97f4a7c15u + 1;
            __asm__ volatile("" : : "r"(x));
            STORM_CHECK(storm_inside == inside, "somebody else was here");
        }
        storm_leave();
        pthread_sigmask(SIG_SETMASK, &before, &now);
        STORM_CHECK(gyre_worker_index() == worker, "another worker");
        STORM_CHECK(sigismember(&now, one_of_them), "the mask is somebody else's");
        for (int i = 0; i < 100; i++)
            storm_compute(&player->random);
        pthread_sigmask(SIG_SETMASK, NULL, &now);
        STORM_CHECK(!sigismember(&now, SIGUSR1) && !sigismember(&now, SIGRTMAX) &&
                        !sigismember(&now, SIGURG),
                    "signals stay blocked");
    }
    return 0;
}

static int is_as_before(struct storm_player *player)
{
    sigset_t first, now;

    pthread_sigmask(SIG_SETMASK, NULL, &first);
    for (; !storm_over(); player->rounds++) {
        storm_compute(&player->random);
        pthread_sigmask(SIG_SETMASK, NULL, &now);
        STORM_CHECK(memcmp(&first, &now, sizeof first) == 0, "a mask that is not ours");
    }
    return 0;
}

static const char *missing(const struct gyre_preempt_counts *counts)
{
    return counts->refused[GYRE_REFUSED_MASK] ? NULL : "no mask was in the way";
}

int main(int argc, char **argv)
{
    static const struct storm_part parts[] = {
        {"masks changed", blocks, 6},
        {"masks kept", is_as_before, 4},
    };

    storm_settings.missing = missing;
    return storm(argc, argv, parts, ARRAY_SIZE(parts));
}
