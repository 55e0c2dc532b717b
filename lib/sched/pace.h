/*
 * Do the coroutines of this worker park soon after they readied another? Then what they readied
 * waits best in the just-woken slot, which tells nobody. If they go on computing, it would wait
 * there while other workers sleep: then it goes to the deque, and one of them is woken.
 *
 * One in PACE_SAMPLE of those readied is timed, from there to the next pick, by the processor's own
 * counter. PACE_LATE in a row that took longer than PACE_TICKS, some ten microseconds or what a
 * wake costs, say that they go on; a few that did not say that they no longer do. Nothing to know
 * where the worker is alone.
 *
 * Rejected: to wake with every ready, as Go does, which costs each rendezvous a system call; and to
 * let the sleepers look again after a while, which costs an idle program its idleness.
 */
#ifndef GYRE_LIB_SCHED_PACE_H
#define GYRE_LIB_SCHED_PACE_H

#include "base/clock.h"

enum { PACE_SAMPLE = 8, PACE_LATE = 2, PACE_SURE = 4 };

/* The owner's alone; zeroed. */
struct pace {
    uint64_t since; /* the sample under way, or 0 */
    unsigned until_sample;
    unsigned late;    /* samples in a row */
    unsigned goes_on; /* how many samples more believe that they go on */
};

#if defined(__x86_64__)
#define PACE_TICKS (1u << 15)
static inline uint64_t pace_ticks(void)
{
    return __builtin_ia32_rdtsc();
}
#else
#define PACE_TICKS 12000u
static inline uint64_t pace_ticks(void)
{
    return (uint64_t)clock_real();
}
#endif

/* At a ready. True: to the deque with it, and wake somebody. */
static inline bool pace_goes_on(struct pace *pace)
{
    if (unlikely(pace->until_sample-- == 0)) {
        pace->until_sample = PACE_SAMPLE - 1;
        if (!pace->since)
            pace->since = pace_ticks();
    }
    return pace->goes_on != 0;
}

/* At the next pick, if `since` is set. */
static inline void pace_note(struct pace *pace)
{
    bool late = pace_ticks() - pace->since > PACE_TICKS;

    pace->since = 0;
    pace->late = late ? pace->late + 1 : 0;
    if (pace->late >= PACE_LATE)
        pace->goes_on = PACE_SURE;
    else if (!late && pace->goes_on)
        pace->goes_on--;
}

#endif
