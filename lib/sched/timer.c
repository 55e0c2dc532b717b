/* The timing wheel; timer.h says how it is laid out. */
#include "sched/timer.h"

#include "base/macros.h"

/* A deadline in the past is due now. */
static int64_t effective(const struct timers *wheel, const struct timer *timer)
{
    return timer->deadline > wheel->now ? timer->deadline : wheel->now;
}

static void insert(struct timers *wheel, struct timer *timer)
{
    int64_t deadline = effective(wheel, timer);
    uint64_t differ = ((uint64_t)deadline ^ (uint64_t)wheel->now) >> TIMER_SHIFT;
    unsigned level = differ ? (unsigned)(63 - __builtin_clzll(differ)) / TIMER_BITS : 0;
    unsigned slot = (unsigned)(deadline >> (TIMER_SHIFT + level * TIMER_BITS)) & (TIMER_SLOTS - 1);

    timer->slot = (uint16_t)(level * TIMER_SLOTS + slot);
    list_append(&wheel->slots[level][slot], &timer->link);
    wheel->used[level] |= (uint64_t)1 << slot;
}

static void remove_timer(struct timers *wheel, struct timer *timer)
{
    unsigned level = timer->slot / TIMER_SLOTS, slot = timer->slot % TIMER_SLOTS;

    list_remove(&timer->link);
    if (list_empty(&wheel->slots[level][slot]))
        wheel->used[level] &= ~((uint64_t)1 << slot);
}

/* The first time of a slot on a level, as seen from the wheel's time. */
static int64_t slot_start(const struct timers *wheel, unsigned level, unsigned slot)
{
    unsigned shift = TIMER_SHIFT + level * TIMER_BITS;
    uint64_t above = (uint64_t)wheel->now >> shift >> TIMER_BITS << TIMER_BITS;

    return (int64_t)((above | slot) << shift);
}

/*
 * A lower bound of the first deadline: exact on level 0; above, the start of the first used slot,
 * at which its timers move down. Lower levels come first: all they hold lies within the present
 * slot of the level above.
 */
static int64_t find_next(const struct timers *wheel)
{
    for (unsigned level = 0; level < TIMER_LEVELS; level++) {
        unsigned slot;
        int64_t earliest = INT64_MAX;

        if (!wheel->used[level])
            continue;
        slot = (unsigned)__builtin_ctzll(wheel->used[level]);
        if (level)
            return slot_start(wheel, level, slot);
        for (const struct list *at = wheel->slots[0][slot].next; at != &wheel->slots[0][slot];
             at = at->next) {
            const struct timer *timer = container_of(at, const struct timer, link);
            int64_t deadline = effective(wheel, timer);

            if (deadline < earliest)
                earliest = deadline;
        }
        return earliest;
    }
    return INT64_MAX;
}

static void set_next(struct timers *wheel, int64_t next)
{
    /* Relaxed: the owner reads what it wrote; for others it is a hint. */
    atomic_store_explicit(&wheel->next, next, memory_order_relaxed);
}

static bool empty(const struct timers *wheel)
{
    uint64_t any = 0;

    for (unsigned level = 0; level < TIMER_LEVELS; level++)
        any |= wheel->used[level];
    return !any;
}

void gyre_timers_init(struct timers *wheel, int64_t now)
{
    *wheel = (struct timers){.now = now > 0 ? now : 0};
    for (unsigned level = 0; level < TIMER_LEVELS; level++)
        for (unsigned slot = 0; slot < TIMER_SLOTS; slot++)
            list_init(&wheel->slots[level][slot]);
    set_next(wheel, INT64_MAX);
}

void gyre_timer_start(struct timers *wheel, struct timer *timer, int64_t deadline)
{
    timer->deadline = deadline;
    timer->wheel = wheel;
    spin_lock(&wheel->lock);
    insert(wheel, timer);
    deadline = effective(wheel, timer);
    if (deadline < timers_next(wheel))
        set_next(wheel, deadline);
    spin_unlock(&wheel->lock);
}

bool gyre_timer_stop(struct timer *timer)
{
    struct timers *wheel = timer->wheel;
    bool pending;

    spin_lock(&wheel->lock);
    pending = !list_empty(&timer->link);
    if (pending) {
        remove_timer(wheel, timer);
        /* Otherwise the bound may now be early: that costs one look, a new one each stop. */
        if (empty(wheel))
            set_next(wheel, INT64_MAX);
    }
    spin_unlock(&wheel->lock);
    return pending;
}

/* Moves the time forward to now; what is due goes to the list, in the order of slots. */
static void advance(struct timers *wheel, int64_t now, struct list *due)
{
    struct list again, *item;

    list_init(&again);
    for (;;) {
        unsigned level = 0, slot;
        int64_t start;

        while (level < TIMER_LEVELS && !wheel->used[level])
            level++;
        if (level == TIMER_LEVELS)
            break;
        slot = (unsigned)__builtin_ctzll(wheel->used[level]);
        start = slot_start(wheel, level, slot);
        if (start > now)
            break;
        if (start > wheel->now)
            wheel->now = start;
        while ((item = list_pop(&wheel->slots[level][slot]))) {
            struct timer *timer = container_of(item, struct timer, link);

            if (timer->deadline <= now)
                list_append(due, item);
            else if (level == 0)
                list_append(&again, item);
            else
                insert(wheel, timer);
        }
        wheel->used[level] &= ~((uint64_t)1 << slot);
        /* On level 0 only the slot of `now` itself can hold a later deadline: done. */
        if (!list_empty(&again))
            break;
    }
    if (now > wheel->now)
        wheel->now = now;
    while ((item = list_pop(&again)))
        insert(wheel, container_of(item, struct timer, link));
}

unsigned gyre_timers_expire(struct timers *wheel, int64_t now)
{
    unsigned count = 0;
    struct list due, *item;

    if (likely(timers_next(wheel) > now))
        return 0;
    list_init(&due);
    spin_lock(&wheel->lock);
    advance(wheel, now, &due);
    set_next(wheel, find_next(wheel));
    for (;;) {
        struct timer *timer;

        item = list_pop(&due);
        spin_unlock(&wheel->lock);
        if (!item)
            break;
        timer = container_of(item, struct timer, link);
        timer->fire(timer);
        count++;
        spin_lock(&wheel->lock);
    }
    return count;
}
