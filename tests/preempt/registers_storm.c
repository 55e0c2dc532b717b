/*
 * The register canaries of tests/coro, in coroutines that are interrupted: loops in assembly that
 * keep a value in every register of one kind. The other kinds run on the same threads meanwhile,
 * and leave theirs in what is not restored.
 */
#include "storm.h"

#include "../coro/preempt_canary.h"

enum { ROUNDS = 3000 };

static int keeps(struct storm_player *player)
{
    unsigned features = canary_features(), kinds = 0;
    const struct canary *canary;

    while (canaries[kinds].name)
        kinds++;
    canary = &canaries[player->index % kinds];
    if ((canary->needs & features) != canary->needs) {
        printf("%s: not on this processor\n", canary->name);
        return 0;
    }
    for (; !storm_over(); player->rounds++) {
        STORM_CHECK(canary->run(ROUNDS) == 0, "%s", canary->name);
        canary_tidy();
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct storm_part parts[] = {{"canaries", keeps, 40}};

    return storm(argc, argv, parts, ARRAY_SIZE(parts));
}
