/*
 * A program's own alternate signal stacks. A coroutine may replace its thread's by one that is as
 * small as the kernel lets it, or by none; handlers of other signals compute there, or on the
 * coroutine's stack. Neither overflows because of a tick, and nobody is interrupted in a handler,
 * whichever stack it is on.
 */
#include "storm.h"

#include <sys/auxv.h>
#include <sys/mman.h>

enum { SIGNALS = 4 };

static int signal_number(unsigned long n)
{
    return SIGRTMIN + 1 + (int)n;
}

static void compute_in_handler(int signal)
{
    const char *before = storm_inside;
    uint64_t x = (uint64_t)signal;
    int saved = errno;

    storm_inside = "a handler";
    for (int i = 0; i < 300000; i++)
        x = x * 0x9e3779b97f4a7c15u + 1;
    __asm__ volatile("" : : "r"(x));
    STORM_CHECK(storm_inside != before, "somebody else left its mark");
    storm_inside = before;
    errno = saved;
}

/* Each sends itself signals whose handlers run for a few quanta. */
static int raises(struct storm_player *player)
{
    do {
        raise(signal_number((player->rounds + player->index) % SIGNALS));
        STORM_CHECK(!storm_inside, "still in a handler");
        for (int i = 0; i < 20; i++)
            storm_compute(&player->random);
        player->rounds++;
    } while (!storm_over());
    return 0;
}

/* Nothing may be written below an alternate stack that the kernel takes. */
static int replaces(struct storm_player *player)
{
    size_t least = getauxval(AT_MINSIGSTKSZ), page = (size_t)sysconf(_SC_PAGESIZE), size;
    char *pages;

    if (least < 2048)
        least = 2048;
    size = (least + 1024 + 63) / 64 * 64; /* a frame of the kernel, and 1 KB for a handler */
    pages = mmap(NULL, page + (size + page - 1) / page * page, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    STORM_CHECK(pages != MAP_FAILED, "no memory");
    mprotect(pages, page, PROT_NONE);
    for (; !storm_over(); player->rounds++) {
        stack_t small = {.ss_sp = pages + page, .ss_size = size}, none = {.ss_flags = SS_DISABLE};
        stack_t before, now;
        sigset_t all, mask;
        bool disable = (player->rounds & 1) != 0;

        /* It is the thread's: nobody else may run here before it is put back. */
        gyre_preempt_off();
        STORM_CHECK(!sigaltstack(disable ? &none : &small, &before), "%s", strerror(errno));
        for (int i = 0; i < 100; i++)
            storm_compute(&player->random);
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, &mask);
        STORM_CHECK(!sigaltstack(&before, &now), "%s", strerror(errno));
        pthread_sigmask(SIG_SETMASK, &mask, NULL);
        STORM_CHECK(disable ? (now.ss_flags & SS_DISABLE) != 0 : now.ss_sp == small.ss_sp,
                    "somebody else's stack");
        gyre_preempt_on();
        for (int i = 0; i < 20; i++)
            storm_compute(&player->random);
    }
    munmap(pages, page + (size + page - 1) / page * page);
    return 0;
}

static const char *missing(const struct gyre_preempt_counts *counts)
{
    return counts->refused[GYRE_REFUSED_STACK] ? NULL : "no tick on a signal stack";
}

int main(int argc, char **argv)
{
    static const struct storm_part parts[] = {
        {"handlers", raises, 8},
        {"stacks replaced", replaces, 4},
    };
    /* On each stack, and with the mask as it was, too: there only the stack tells. */
    static const int flags[SIGNALS] = {SA_ONSTACK, 0, SA_NODEFER | SA_RESTART,
                                       SA_NODEFER | SA_ONSTACK};

    for (unsigned i = 0; i < SIGNALS; i++)
        sigaction(signal_number(i),
                  &(struct sigaction){.sa_handler = compute_in_handler, .sa_flags = flags[i]},
                  NULL);
    storm_settings.missing = missing;
    return storm(argc, argv, parts, ARRAY_SIZE(parts));
}
