/*
 * A program that recovers from its own faults: its SIGSEGV handler leaves by siglongjmp, from the
 * alternate stack into a coroutine that is interrupted all the time.
 */
#include "storm.h"

#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

static _Thread_local sigjmp_buf *volatile recovery;
static char *forbidden;

static void fault(int signal, siginfo_t *info, void *context)
{
    (void)context;
    STORM_CHECK((char *)info->si_addr == forbidden + 8, "signal %d at %p", signal, info->si_addr);
    STORM_CHECK(recovery, "nobody expects it");
    siglongjmp(*recovery, 1);
}

static __attribute__((noinline)) void touch(void)
{
    *(volatile char *)(forbidden + 8) = 1;
}

static int recovers(struct storm_player *player)
{
    do {
        sigjmp_buf here;
        volatile unsigned got = 0;
        int again;

        /* Which buffer is the thread's is said in a section: the handler asks the thread. */
        again = sigsetjmp(here, 1);
        if (!again) {
            for (int i = 0; i < 10; i++) {
                storm_compute(&player->random);
                got++;
            }
            gyre_preempt_off();
            recovery = &here;
            touch();
            storm_fail("the fault did not happen");
        }
        recovery = NULL;
        gyre_preempt_on();
        STORM_CHECK(got == 10, "%u", got);
        for (int i = 0; i < 10; i++)
            storm_compute(&player->random);
        player->rounds++;
    } while (!storm_over());
    return 0;
}

int main(int argc, char **argv)
{
    static const struct storm_part parts[] = {{"faults", recovers, 8}};

    forbidden = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    sigaction(SIGSEGV,
              &(struct sigaction){.sa_sigaction = fault, .sa_flags = SA_SIGINFO | SA_ONSTACK},
              NULL);
    return storm(argc, argv, parts, ARRAY_SIZE(parts));
}
