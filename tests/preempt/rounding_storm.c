/*
 * The floating-point environment of a coroutine that is interrupted stays its own: its rounding
 * mode, flags, precision and traps are there when it goes on, and nobody who ran meanwhile saw
 * them. Each sets the default again before it parks, for that is where an environment ends that was
 * not asked to be saved.
 */
#include "storm.h"

#include <fenv.h>
#include <float.h>

enum { ROUNDS = 30000 };

static volatile double zero = 0, one = 1, three = 3;

/* Its last bits tell how it was rounded, in each unit. */
static __attribute__((noinline)) double thirds(void)
{
    double sum = 0, third = one / three;

    for (int i = 0; i < ROUNDS; i++)
        sum = sum * 0.5 + third + 1 / (sum + 3);
    return sum;
}

static __attribute__((noinline)) long double long_thirds(void)
{
    long double sum = 0, third = (long double)one / three;

    for (int i = 0; i < ROUNDS; i++)
        sum = sum * 0.5L + third + 1 / (sum + 3);
    return sum;
}

static const int modes[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
static double wanted[ARRAY_SIZE(modes)];
static long double long_wanted[ARRAY_SIZE(modes)];

static int rounds(struct storm_player *player)
{
    for (; !storm_over(); player->rounds++) {
        size_t mode = player->rounds % ARRAY_SIZE(modes);
        double sum;
        long double long_sum;
        int found = fegetround();

        STORM_CHECK(found == FE_TONEAREST, "somebody else's %#x", found);
        fesetround(modes[mode]);
        sum = thirds();
        long_sum = long_thirds();
        found = fegetround();
        fesetround(FE_TONEAREST);
        STORM_CHECK(found == modes[mode], "%#x instead of %#x", found, modes[mode]);
        STORM_CHECK(sum == wanted[mode], "%a, not %a in mode %#x", sum, wanted[mode], modes[mode]);
        STORM_CHECK(long_sum == long_wanted[mode], "%La, not %La in mode %#x", long_sum,
                    long_wanted[mode], modes[mode]);
    }
    return 0;
}

/* One whose control words are its own: they survive parking, and moving to another thread, as well.
 */
static int keeps_its_mode(void *arg)
{
    struct storm_player *player = arg;
    size_t mode = (player->index + player->rounds) % ARRAY_SIZE(modes);

    STORM_CHECK(fegetround() == FE_TONEAREST, "somebody else's %#x", fegetround());
    fesetround(modes[mode]);
    for (int i = 0; i < 4; i++) {
        double sum = thirds();

        STORM_CHECK(sum == wanted[mode], "%a, not %a in mode %#x", sum, wanted[mode], modes[mode]);
        gyre_yield();
        STORM_CHECK(fegetround() == modes[mode], "%#x instead of %#x", fegetround(), modes[mode]);
    }
    return 0;
}

static int keeps(struct storm_player *player)
{
    struct gyre_spawn_options options = GYRE_SPAWN_INIT;
    gyre_handle handle;

    options.flags = GYRE_SPAWN_SAVE_FPU;
    for (; !storm_over(); player->rounds++) {
        STORM_CHECK(!gyre_spawn_options(&handle, keeps_its_mode, player, &options), "no memory");
        gyre_join(handle, NULL);
        STORM_CHECK(fegetround() == FE_TONEAREST, "somebody else's %#x", fegetround());
    }
    return 0;
}

/* Never touches the environment. */
static int is_untouched(struct storm_player *player)
{
    for (; !storm_over(); player->rounds++) {
        double sum = thirds();
        long double long_sum = long_thirds();

        STORM_CHECK(sum == wanted[0] && long_sum == long_wanted[0], "%a %La, not %a %La", sum,
                    long_sum, wanted[0], long_wanted[0]);
    }
    return 0;
}

/* Exact arithmetic raises no flag, whoever else raises one; and one that was raised stays. */
static int flags(struct storm_player *player)
{
    for (; !storm_over(); player->rounds++) {
        int wanted_flags = player->rounds & 1 ? FE_DIVBYZERO | FE_OVERFLOW : 0, found;
        double x = one;

        feclearexcept(FE_ALL_EXCEPT);
        if (wanted_flags)
            feraiseexcept(wanted_flags);
        for (int i = 0; i < ROUNDS * 4; i++) {
            x += 1;
            __asm__ volatile("" : "+m"(x));
        }
        found = fetestexcept(FE_ALL_EXCEPT);
        feclearexcept(FE_ALL_EXCEPT);
        STORM_CHECK(x == ROUNDS * 4 + 1, "%a", x);
        /* An overflow may come with its own loss. */
        STORM_CHECK((found & ~(wanted_flags ? FE_INEXACT : 0)) == wanted_flags, "%#x, not %#x",
                    found, wanted_flags);
    }
    return 0;
}

static void trapped(int signal)
{
    (void)signal;
    storm_fail("a trap of somebody else");
}

/* Wants to know of a division by zero; the others divide by it all the time. */
static int traps(struct storm_player *player)
{
    for (; !storm_over(); player->rounds++) {
        double sum;
        int found;

        feclearexcept(FE_ALL_EXCEPT);
        feenableexcept(FE_DIVBYZERO | FE_INVALID);
        sum = thirds();
        found = fegetexcept();
        fedisableexcept(FE_ALL_EXCEPT);
        STORM_CHECK(sum == wanted[0], "%a", sum);
        STORM_CHECK(found == (FE_DIVBYZERO | FE_INVALID), "traps %#x", found);
    }
    return 0;
}

static int divides(struct storm_player *player)
{
    for (; !storm_over(); player->rounds++)
        for (int i = 0; i < ROUNDS; i++) {
            double x = one / zero, y = zero / zero;

            STORM_CHECK(x > DBL_MAX && y != y, "%a %a", x, y);
        }
    return 0;
}

#if defined(__x86_64__)
static __attribute__((noinline)) double denormals(int count)
{
    static volatile double tiny = DBL_MIN;
    double sum = 0;

    for (int i = 0; i < count; i++)
        sum += tiny / 2;
    return sum;
}

/* Precision of the x87 unit, and denormals as zero in SSE: words that no C function sets. */
static int controls(struct storm_player *player)
{
    for (; !storm_over(); player->rounds++) {
        uint16_t before, word, after;
        uint32_t csr_before, csr, csr_after;
        double sum;

        __asm__ volatile("fnstcw %0" : "=m"(before));
        __asm__ volatile("stmxcsr %0" : "=m"(csr_before));
        STORM_CHECK((before & 0xf3f) == 0x33f, "%#x", before);
        STORM_CHECK((csr_before & ~0x3fu) == 0x1f80, "%#x", csr_before);
        word = (uint16_t)((before & ~0x300) | 0x200);
        csr = csr_before | 0x8040;
        __asm__ volatile("fldcw %0" : : "m"(word));
        __asm__ volatile("ldmxcsr %0" : : "m"(csr));
        sum = denormals(ROUNDS * 2);
        __asm__ volatile("fnstcw %0" : "=m"(after));
        __asm__ volatile("stmxcsr %0" : "=m"(csr_after));
        __asm__ volatile("fldcw %0" : : "m"(before));
        __asm__ volatile("ldmxcsr %0" : : "m"(csr_before));
        STORM_CHECK(after == word, "%#x, not %#x", after, word);
        STORM_CHECK((csr_after & ~0x3fu) == (csr & ~0x3fu), "%#x, not %#x", csr_after, csr);
        STORM_CHECK(sum == 0, "%a", sum);
        sum = denormals(ROUNDS / 4);
        STORM_CHECK(sum == ROUNDS / 4 * (DBL_MIN / 2), "%a", sum);
    }
    return 0;
}
#endif

int main(int argc, char **argv)
{
    static const struct storm_part parts[] = {
        {"rounding modes", rounds, 8},
        {"modes kept", keeps, 4},
        {"default rounding", is_untouched, 4},
        {"flags", flags, 4},
        {"traps", traps, 4},
        {"divisions", divides, 4},
#if defined(__x86_64__)
        {"control words", controls, 4},
#endif
    };

    signal(SIGFPE, trapped);
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        fesetround(modes[i]);
        wanted[i] = thirds();
        long_wanted[i] = long_thirds();
    }
    fesetround(FE_TONEAREST);
    return storm(argc, argv, parts, ARRAY_SIZE(parts));
}
