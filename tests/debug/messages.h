/* What gyre_test prints. */
#ifndef GYRE_TESTS_DEBUG_MESSAGES_H
#define GYRE_TESTS_DEBUG_MESSAGES_H

#include "../sched/inside.h"

#include <stdlib.h>

/* Takes the last message off, which must say that the test failed, and returns the seed in it. */
static inline unsigned long long take_verdict(void)
{
    static const char verdict[] = "gyre: test failed; GYRE_SEED=";
    char *line = strstr(messages, verdict), *end;
    unsigned long long seed;

    cr_assert_not_null(line, "%s", messages);
    seed = strtoull(line + strlen(verdict), &end, 10);
    cr_assert_str_eq(end, " replays it\n");
    *line = 0;
    return seed;
}

static inline void said_and_failed(const char *text)
{
    cr_assert(take_verdict() != 0);
    cr_assert_str_eq(messages, text);
}

#endif
