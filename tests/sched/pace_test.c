#include "sched/pace.h"

#include <criterion/criterion.h>

/* One sample that took so long. */
static void sample(struct pace *pace, uint64_t ticks)
{
    pace->since = pace_ticks() - ticks;
    pace_note(pace);
}

Test(pace, nothing_is_believed_at_first_or_after_one_late_pick)
{
    struct pace pace = {0};

    cr_assert_not(pace_goes_on(&pace));
    sample(&pace, 2 * PACE_TICKS);
    cr_assert_not(pace_goes_on(&pace));
    sample(&pace, 0);
    sample(&pace, 2 * PACE_TICKS);
    cr_assert_not(pace_goes_on(&pace));
}

Test(pace, late_picks_in_a_row_are_believed_until_some_are_prompt)
{
    struct pace pace = {0};

    for (int i = 0; i < PACE_LATE; i++)
        sample(&pace, 2 * PACE_TICKS);
    for (int i = 0; i < PACE_SURE; i++) {
        cr_assert(pace_goes_on(&pace));
        sample(&pace, 0);
    }
    cr_assert_not(pace_goes_on(&pace));
}

Test(pace, one_ready_in_so_many_is_timed)
{
    struct pace pace = {0};
    int timed = 0;

    for (int i = 0; i < 10 * PACE_SAMPLE; i++) {
        pace_goes_on(&pace);
        timed += pace.since != 0;
        pace.since = 0;
    }
    cr_assert_eq(timed, 10);
}
