/*
 * The heap stays whole: malloc and its family from coroutines that are interrupted between any two
 * calls, each block full of a pattern of its owner, some freed by another coroutine than the one
 * that allocated. One interrupted within malloc would leave its lock held, or the thread's cache
 * half changed: a hang, a block given out twice, or an abort of the C library.
 */
#include "storm.h"

#include <malloc.h>

enum { BLOCKS = 64, SHELF = 16 };

struct block {
    uint64_t *words;
    size_t count;
    uint64_t pattern;
};

/* Where blocks change hands. Each holds the address of a header. */
struct parcel {
    struct block block;
    uint64_t pattern;
};
static _Atomic(struct parcel *) shelf[SHELF];

static void fill(struct block *block, size_t from)
{
    for (size_t i = from; i < block->count; i++)
        block->words[i] = block->pattern + i;
}

static void check(const struct block *block, size_t count)
{
    for (size_t i = 0; i < count; i++)
        STORM_CHECK(block->words[i] == block->pattern + i, "word %zu of %zu: %#llx", i,
                    block->count, (unsigned long long)block->words[i]);
}

static void release(struct block *block)
{
    if (!block->words)
        return;
    STORM_CHECK(malloc_usable_size(block->words) >= block->count * sizeof *block->words, "small");
    check(block, block->count);
    free(block->words);
    block->words = NULL;
}

/* Mostly what fits the thread's cache, at times more than is mapped by itself. */
static size_t some_count(struct random *random)
{
    switch (random_below(random, 64)) {
    case 0:
        return 1 + random_below(random, 40000);
    case 1:
    case 2:
    case 3:
        return 1 + random_below(random, 2000);
    default:
        return 1 + random_below(random, 60);
    }
}

static void acquire(struct block *block, struct random *random)
{
    size_t size, align = (size_t)16 << random_below(random, 9);
    void *words = NULL;

    block->count = some_count(random);
    block->pattern = random_next(random);
    size = block->count * sizeof *block->words;
    switch (random_below(random, 5)) {
    case 0:
        words = calloc(block->count, sizeof *block->words);
        for (size_t i = 0; words && i < block->count; i++)
            STORM_CHECK(((uint64_t *)words)[i] == 0, "calloc's are not zero");
        break;
    case 1:
        STORM_CHECK(!posix_memalign(&words, align, size), "no memory");
        STORM_CHECK((uintptr_t)words % align == 0, "not aligned");
        break;
    case 2:
        words = aligned_alloc(align, (size + align - 1) / align * align);
        STORM_CHECK((uintptr_t)words % align == 0, "not aligned");
        break;
    default:
        words = malloc(size);
    }
    STORM_CHECK(words, "no memory");
    block->words = words;
    fill(block, 0);
}

static void resize(struct block *block, struct random *random)
{
    size_t before = block->count;
    uint64_t *words;

    block->count = some_count(random);
    words = realloc(block->words, block->count * sizeof *words);
    STORM_CHECK(words, "no memory");
    block->words = words;
    check(block, before < block->count ? before : block->count);
    fill(block, before);
}

static int churn(struct storm_player *player)
{
    struct block blocks[BLOCKS] = {{NULL, 0, 0}};

    while (!storm_over()) {
        for (int n = 0; n < 100; n++) {
            struct block *block = &blocks[random_below(&player->random, BLOCKS)];

            if (!block->words)
                acquire(block, &player->random);
            else if (random_below(&player->random, 3) == 0)
                resize(block, &player->random);
            else
                release(block);
        }
        if (random_below(&player->random, 4) == 0)
            storm_compute(&player->random);
        player->rounds++;
    }
    for (int i = 0; i < BLOCKS; i++)
        release(&blocks[i]);
    return 0;
}

/* Blocks allocated on one thread and freed on another, in whatever order. */
static int exchange(struct storm_player *player)
{
    while (!storm_over()) {
        for (int n = 0; n < 30; n++) {
            struct parcel *parcel = malloc(sizeof *parcel);

            STORM_CHECK(parcel, "no memory");
            acquire(&parcel->block, &player->random);
            parcel->pattern = parcel->block.pattern;
            parcel = atomic_exchange(&shelf[random_below(&player->random, SHELF)], parcel);
            if (parcel) {
                STORM_CHECK(parcel->pattern == parcel->block.pattern, "another's parcel");
                release(&parcel->block);
                free(parcel);
            }
        }
        storm_compute(&player->random);
        player->rounds++;
    }
    return 0;
}

/* What the C library allocates for itself. */
static int duplicate(struct storm_player *player)
{
    char text[200], *copy;

    while (!storm_over()) {
        unsigned length = random_below(&player->random, sizeof text - 1);

        memset(text, 'a' + (int)(player->index % 26), length);
        text[length] = '\0';
        copy = strdup(text);
        STORM_CHECK(copy && strcmp(copy, text) == 0, "a copy differs");
        storm_compute(&player->random);
        free(copy);
        STORM_CHECK(asprintf(&copy, "%s-%u", text, length) == (int)strlen(copy), "length");
        free(copy);
        player->rounds++;
    }
    return 0;
}

static void empty(void)
{
    for (int i = 0; i < SHELF; i++) {
        struct parcel *parcel = atomic_exchange(&shelf[i], NULL);

        if (parcel) {
            release(&parcel->block);
            free(parcel);
        }
    }
}

int main(int argc, char **argv)
{
    static const struct storm_part parts[] = {
        {"churn", churn, 4}, {"exchange", exchange, 4}, {"duplicate", duplicate, 2}};

    storm_settings.finish = empty;
    return storm(argc, argv, parts, ARRAY_SIZE(parts));
}
