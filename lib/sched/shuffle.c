/* The pool and its choice. */
#include "sched/shuffle.h"

#include "sched/pick.h"

#include <stdlib.h>

/* False: no memory; the rest stays queued, which costs chance, not coroutines. */
static bool make_room(struct shuffle *shuffle)
{
    size_t capacity = shuffle->capacity ? 2 * shuffle->capacity : 64;
    struct gyre_coro **larger;

    if (likely(shuffle->count < shuffle->capacity))
        return true;
    larger = realloc(shuffle->coros, capacity * sizeof(struct gyre_coro *));
    if (!larger)
        return false;
    shuffle->coros = larger;
    shuffle->capacity = capacity;
    return true;
}

static struct gyre_coro *take_any(struct worker *worker)
{
    struct gyre_coro *coro = take_slot(worker, true);

    if (!coro)
        coro = take_deque(worker, true);
    if (!coro)
        coro = take_fifo(worker, true);
    return coro ? coro : take_private(worker);
}

static struct gyre_coro *pick_alone(struct worker *worker)
{
    struct shuffle *shuffle = &worker->shuffle;
    struct gyre_coro *coro;
    size_t i;

    while (make_room(shuffle) && (coro = take_any(worker)))
        shuffle->coros[shuffle->count++] = coro;
    if (!shuffle->count)
        return take_any(worker);
    i = random_below(&worker->random, (uint32_t)shuffle->count);
    coro = shuffle->coros[i];
    shuffle->coros[i] = shuffle->coros[--shuffle->count];
    return coro;
}

void gyre_shuffle_start(struct worker *worker)
{
    worker->shuffle.on = true;
    worker->slot_streak = SLOT_STREAK;
}

struct gyre_coro *gyre_shuffle_pick(struct worker *worker)
{
    struct gyre_coro *coro;

    if (worker->alone)
        return pick_alone(worker);
    worker->turn = random_below(&worker->random, 4);
    worker->slot_streak = random_below(&worker->random, 2) ? SLOT_STREAK : 0;
    coro = pick_local(worker, false);
    worker->slot_streak = SLOT_STREAK; /* so that nobody is passed the processor past the others */
    return coro;
}
