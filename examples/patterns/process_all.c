/*
 * Process all: a coroutine for every item, and a wait until the last one is done. Each writes its
 * own slot of the results, so there is nothing to lock.
 *
 *     var wg sync.WaitGroup
 *     for i, word := range words {
 *         wg.Go(func() { lengths[i] = len(word) })
 *     }
 *     wg.Wait()
 *
 * A wait group only counts. If items can fail, or a failure should stop the others, take a group:
 * its wait also returns the first error.
 */
#include <gyre.h>

#include <stdio.h>
#include <string.h>

struct item {
    const char *word;
    size_t length;
};

static int measure(void *arg)
{
    struct item *item = arg;

    item->length = strlen(item->word);
    return 0;
}

static int start(void *arg)
{
    struct item items[] = {{"every", 0}, {"word", 0}, {"is", 0}, {"measured", 0}};
    const size_t count = sizeof items / sizeof *items;
    gyre_waitgroup group = GYRE_WAITGROUP_INIT;
    int error;

    (void)arg;
    for (size_t i = 0; i < count; i++)
        if (gyre_waitgroup_go(&group, measure, &items[i]) < 0)
            measure(&items[i]); /* no memory for a coroutine: then without one */
    if ((error = gyre_waitgroup_wait(&group)))
        return error;
    for (size_t i = 0; i < count; i++)
        printf("%zu %s\n", items[i].length, items[i].word);
    return 0;
}

int main(void)
{
    return gyre_run(start, NULL) < 0;
}
