/* Programs in C++: without libgyre-preempt they may not be interrupted, and end all the same. */
#include "storm_cpp.h"

#include "storm.h"

bool cpp_over(void)
{
    return storm_over();
}

void cpp_compute(unsigned times)
{
    struct random random = {storm_run.seed + times};

    while (times-- > 0)
        storm_compute(&random);
}

void cpp_park(uint64_t n)
{
    if (n % 3 == 0)
        gyre_yield();
    else if (n % 7 == 0)
        gyre_sleep(100 * GYRE_MICROSECOND);
}

void cpp_fail(const char *file, int line, const char *what)
{
    storm_fail_at(file, line, "", "%s", what);
}

static int play(struct storm_player *player)
{
    for (size_t i = 0; i < cpp_part_count; i++)
        if (strcmp(cpp_parts[i].name, player->part->name) == 0)
            cpp_parts[i].play(&player->rounds);
    return 0;
}

int main(int argc, char **argv)
{
    struct storm_part parts[16];

    STORM_CHECK(cpp_part_count <= ARRAY_SIZE(parts), "more parts than room");
    for (size_t i = 0; i < cpp_part_count; i++)
        parts[i] = (struct storm_part){cpp_parts[i].name, play, cpp_parts[i].copies};
#ifdef CPP_COOPERATIVE
    storm_settings.cooperative = true;
#endif
    return storm(argc, argv, parts, cpp_part_count);
}
