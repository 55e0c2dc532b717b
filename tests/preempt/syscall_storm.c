/*
 * System calls that the program makes with instructions of its own: the kernel starts one again
 * after a signal by going back to that instruction, and there the coroutine may be interrupted. So
 * who blocks in a read of its own lets the one run who writes, on the same worker too; and each
 * byte comes once, in order.
 */
#include "storm.h"

#include <sys/syscall.h>

enum { PAIRS = 3, CHUNK = 64 };

static struct pair {
    int fds[2];
    _Atomic(uint64_t) written;
    _Atomic(bool) ended;
} pairs[PAIRS];

/* Result or -errno. */
static inline long call3(long number, long a, long b, long c)
{
#if defined(__x86_64__)
    long result;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"(number), "D"(a), "S"(b), "d"(c)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;

    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
#else
    long result = syscall(number, a, b, c);

    return result < 0 ? -errno : result;
#endif
}

/* Where nothing is interrupted nobody may block: another could not run who ends it. */
static bool may_block(void)
{
    return storm_run.asynchronous;
}

static int write_numbers(struct storm_player *player)
{
    struct pair *pair = &pairs[player->index];

    while (!storm_over()) {
        uint64_t numbers[CHUNK], next = pair->written;
        unsigned count = 1 + random_below(&player->random, CHUNK);
        long n;

        for (unsigned i = 0; i < count; i++)
            numbers[i] = next + i;
        n = may_block()
                ? call3(SYS_write, pair->fds[1], (long)numbers, (long)(count * sizeof *numbers))
                : 0;
        STORM_CHECK(n >= 0 && n % (long)sizeof *numbers == 0, "wrote %ld", n);
        pair->written = next + (uint64_t)n / sizeof *numbers;
        for (unsigned i = random_below(&player->random, 10); i; i--)
            storm_compute(&player->random);
        player->rounds++;
    }
    close(pair->fds[1]);
    pair->ended = true;
    return 0;
}

/* To the end: what was written has all come. */
static int read_numbers(struct storm_player *player)
{
    struct pair *pair = &pairs[player->index];
    uint64_t next = 0;

    while (may_block() || !pair->ended) {
        uint64_t numbers[CHUNK];
        long n = 0;

        if (!may_block())
            storm_over();
        else if ((n = call3(SYS_read, pair->fds[0], (long)numbers, sizeof numbers)) == 0)
            break;
        STORM_CHECK(n >= 0 && n % (long)sizeof *numbers == 0, "read %ld", n);
        for (size_t i = 0; i < (size_t)n / sizeof *numbers; i++, next++)
            STORM_CHECK(numbers[i] == next, "%llu instead of %llu", (unsigned long long)numbers[i],
                        (unsigned long long)next);
        storm_compute(&player->random);
        player->rounds++;
    }
    STORM_CHECK(next == pair->written, "%llu of %llu came", (unsigned long long)next,
                (unsigned long long)pair->written);
    close(pair->fds[0]);
    return 0;
}

/* No answer but its own number: a result in a register is not lost. */
static int ask(struct storm_player *player)
{
    const long self = getpid();

    while (!storm_over()) {
        for (int i = 0; i < 200; i++) {
            long got = call3(SYS_getpid, 0, 0, 0);

            STORM_CHECK(got == self, "%ld instead of %ld", got, self);
            got = call3(SYS_lseek, -1, 0, 0);
            STORM_CHECK(got == -EBADF, "%ld", got);
        }
        storm_compute(&player->random);
        player->rounds++;
    }
    return 0;
}

static void begin(void)
{
    for (int i = 0; i < PAIRS; i++) {
        STORM_CHECK(pipe(pairs[i].fds) == 0, "no pipe");
        pairs[i].written = 0;
        pairs[i].ended = false;
    }
}

int main(int argc, char **argv)
{
    static const struct storm_part parts[] = {
        {"writers", write_numbers, PAIRS}, {"readers", read_numbers, PAIRS}, {"askers", ask, 2}};

    storm_settings.before = begin;
    return storm(argc, argv, parts, ARRAY_SIZE(parts));
}
