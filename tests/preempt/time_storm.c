/*
 * Clocks, which are read in the vdso, sleeps and random numbers: time does not run backwards for a
 * coroutine, a short sleep lasts as long as it should but for EINTR, and no two get the same
 * numbers.
 */
#include "storm.h"

#include <poll.h>
#include <sys/time.h>
#include <time.h>

static int64_t read_clock(clockid_t clock)
{
    struct timespec now;

    STORM_CHECK(clock_gettime(clock, &now) == 0, "no clock");
    STORM_CHECK(now.tv_nsec >= 0 && now.tv_nsec < 1000000000, "%ld ns", now.tv_nsec);
    return (int64_t)now.tv_sec * GYRE_SECOND + now.tv_nsec;
}

static int clocks(struct storm_player *player)
{
    static const clockid_t all[] = {CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_MONOTONIC_COARSE,
                                    CLOCK_MONOTONIC_RAW, CLOCK_PROCESS_CPUTIME_ID};
    int64_t before[ARRAY_SIZE(all)] = {0};

    while (!storm_over()) {
        struct timeval now;
        time_t seconds;
        unsigned cpu, node;

        for (int n = 0; n < 100; n++)
            for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
                int64_t time = read_clock(all[i]);

                STORM_CHECK(time >= before[i], "clock %d went back by %lld ns", all[i],
                            (long long)(before[i] - time));
                before[i] = time;
            }
        seconds = time(NULL);
        STORM_CHECK(gettimeofday(&now, NULL) == 0 && now.tv_sec - seconds <= 30, "gettimeofday");
        STORM_CHECK(getcpu(&cpu, &node) == 0, "getcpu");
        storm_compute(&player->random);
        player->rounds++;
    }
    return 0;
}

static int sleeps(struct storm_player *player)
{
    while (!storm_over()) {
        struct timespec span = {0, 1000 * (long)random_below(&player->random, 300)}, rest = span;
        int64_t start = gyre_now(), slept;
        int result = nanosleep(&span, &rest);

        slept = gyre_now() - start;
        STORM_CHECK(result == 0 || errno == EINTR, "nanosleep: %s", strerror(errno));
        if (result != 0)
            slept += rest.tv_nsec;
        STORM_CHECK(slept >= span.tv_nsec, "%lld ns of %ld", (long long)slept, span.tv_nsec);
        result = poll(NULL, 0, 1);
        STORM_CHECK(result == 0 || errno == EINTR, "poll: %s", strerror(errno));
        for (int i = 0; i < 10; i++)
            storm_compute(&player->random);
        player->rounds++;
    }
    return 0;
}

static int random_numbers(struct storm_player *player)
{
    uint64_t last = 0;

    while (!storm_over()) {
        uint64_t numbers[2] = {0, 0};

        STORM_CHECK(getrandom(&numbers[0], sizeof numbers[0], 0) == sizeof numbers[0], "getrandom");
        storm_compute(&player->random);
        STORM_CHECK(getentropy(&numbers[1], sizeof numbers[1]) == 0, "getentropy");
        STORM_CHECK(numbers[0] != numbers[1] && numbers[0] != last, "twice the same");
        last = numbers[1];
        player->rounds++;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct storm_part parts[] = {
        {"clocks", clocks, 4}, {"sleeps", sleeps, 2}, {"random numbers", random_numbers, 2}};

    return storm(argc, argv, parts, ARRAY_SIZE(parts));
}
