/*
 * Blocks copied, moved, filled and compared by the C library's widest instructions, and by the
 * processor's string instructions in line, are right when the work is interrupted round them.
 */
#include "storm.h"

enum { SIZE = 300000 };

static unsigned char at(unsigned seed, size_t i)
{
    return (unsigned char)((seed + i) * 0x9e3779b1u >> 24);
}

static void fill(unsigned char *block, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++)
        block[i] = at(seed, i);
}

static void check(const unsigned char *block, size_t size, unsigned seed, size_t from)
{
    for (size_t i = 0; i < size; i++)
        STORM_CHECK(block[i] == at(seed, from + i), "byte %zu of %zu", i, size);
}

static void copy_in_line(unsigned char *to, const unsigned char *from, size_t size)
{
#if defined(__x86_64__)
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
#else
    for (size_t i = 0; i < size; i++)
        ((volatile unsigned char *)to)[i] = from[i];
#endif
}

/* Sizes of all magnitudes. */
static size_t some_size(struct random *random)
{
    return random_below(random, 1 + (SIZE >> random_below(random, 18)));
}

static int play(struct storm_player *player)
{
    unsigned char *a = malloc(SIZE), *b = malloc(2 * SIZE);

    STORM_CHECK(a && b, "no memory");
    while (!storm_over()) {
        unsigned seed = random_below(&player->random, 1 << 30);
        size_t size = some_size(&player->random), shift = some_size(&player->random);

        fill(a, size, seed);
        if (player->index % 2)
            memcpy(b, a, size);
        else
            copy_in_line(b, a, size);
        STORM_CHECK(memcmp(a, b, size) == 0, "memcmp");
        memmove(b + shift, b, size);
        check(b + shift, size, seed, 0);
        memmove(b, b + shift, size);
        check(b, size, seed, 0);
        if (size > 0) {
            size_t where = random_below(&player->random, (uint32_t)size);

            b[where] ^= 1;
            STORM_CHECK(memcmp(a, b, size) != 0, "memcmp");
            memset(a, 0, size);
            a[where] = 1;
            STORM_CHECK(memchr(a, 1, size) == a + where, "memchr");
        }
        storm_compute(&player->random);
        player->rounds++;
    }
    free(a);
    free(b);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct storm_part parts[] = {{"blocks", play, 6}};

    return storm(argc, argv, parts, ARRAY_SIZE(parts));
}
