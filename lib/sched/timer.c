/* The timing wheel; timer.h says how it is laid out. All below the public calls is under the lock.
 */
#include "sched/timer.h"

#include "base/macros.h"

enum { DUE = TIMER_LEVELS * TIMER_SLOTS }; /* The slot of a timer in the list of due ones. */

static struct timer *timer_of(struct list *link)
{
    return container_of(link, struct timer, link);
}

/* In order also below zero. */
static uint64_t tick_of(int64_t time)
{
    return ((uint64_t)time ^ (uint64_t)INT64_MIN) >> TIMER_SHIFT;
}

/* Of a wheel that is not empty. */
static unsigned first_slot(const struct timers *wheel)
{
    unsigned level = (unsigned)__builtin_ctz(wheel->levels);

    return level * TIMER_SLOTS + (unsigned)__builtin_ctzll(wheel->used[level]);
}

static uint64_t slot_start(const struct timers *wheel, unsigned slot)
{
    unsigned shift = slot / TIMER_SLOTS * TIMER_BITS;
    uint64_t above = wheel->tick >> shift >> TIMER_BITS << TIMER_BITS;

    return (above | slot % TIMER_SLOTS) << shift;
}

static void clear_slot(struct timers *wheel, unsigned slot)
{
    unsigned level = slot / TIMER_SLOTS;

    wheel->slots[slot].earliest = INT64_MAX;
    wheel->used[level] &= ~((uint64_t)1 << slot % TIMER_SLOTS);
    if (!wheel->used[level])
        wheel->levels &= ~(1u << level);
}

static void place(struct timers *wheel, struct timer *timer)
{
    uint64_t tick = tick_of(timer->deadline);

    if (tick < wheel->tick)
        tick = wheel->tick;
    /* | 1: no difference is level 0, too. */
    unsigned level = (unsigned)(63 - __builtin_clzll((tick ^ wheel->tick) | 1)) / TIMER_BITS;
    unsigned index = (unsigned)(tick >> level * TIMER_BITS) % TIMER_SLOTS;
    struct timer_slot *slot = &wheel->slots[level * TIMER_SLOTS + index];

    timer->slot = level * TIMER_SLOTS + index;
    list_append(&slot->timers, &timer->link);
    if (timer->deadline < slot->earliest)
        slot->earliest = timer->deadline;
    wheel->used[level] |= (uint64_t)1 << index;
    wheel->levels |= 1u << level;
}

static void set_next(struct timers *wheel, int64_t next)
{
    atomic_store_explicit(&wheel->next, next, memory_order_relaxed);
}

static void find_next(struct timers *wheel)
{
    if (!list_empty(&wheel->due))
        set_next(wheel, timer_of(wheel->due.next)->deadline);
    else
        set_next(wheel, wheel->levels ? wheel->slots[first_slot(wheel)].earliest : INT64_MAX);
}

/* Moves all of from to the end of to. */
static void splice(struct list *to, struct list *from)
{
    if (list_empty(from))
        return;
    from->next->previous = to->previous;
    to->previous->next = from->next;
    from->previous->next = to;
    to->previous = from->previous;
    list_init(from);
}

/* Two sorted chains of next, ending in NULL; among equals those of a come first. */
static struct list *merge(struct list *a, struct list *b)
{
    struct list *first, **end = &first;

    while (a && b) {
        struct list **least = timer_of(b)->deadline < timer_of(a)->deadline ? &b : &a;

        *end = *least;
        end = &(*end)->next;
        *least = *end;
    }
    *end = a ? a : b;
    return first;
}

/* Stable merge sort: runs[i] is a sorted chain of 2^i items, or NULL. */
static void sort(struct list *head)
{
    struct list *runs[48] = {0}, *all = 0;
    unsigned top = 0;

    head->previous->next = 0;
    for (struct list *item = head->next, *rest; item; item = rest) {
        unsigned i = 0;

        rest = item->next;
        item->next = 0;
        for (; runs[i]; i++) {
            item = merge(runs[i], item);
            runs[i] = 0;
        }
        runs[i] = item;
        if (i >= top)
            top = i + 1;
    }
    for (unsigned i = 0; i < top; i++)
        all = merge(runs[i], all);
    list_init(head);
    for (struct list *rest; all; all = rest) {
        rest = all->next;
        list_append(head, all);
    }
}

/*
 * Empties a slot that the wheel's time has entered: what is due goes to the list of due timers,
 * the rest to its new place.
 */
static void sweep(struct timers *wheel, unsigned slot, int64_t now)
{
    struct list all, due, *link;
    int64_t last = INT64_MIN;
    bool sorted = true;

    list_init(&all);
    list_init(&due);
    splice(&all, &wheel->slots[slot].timers);
    clear_slot(wheel, slot);
    while ((link = list_pop(&all))) {
        struct timer *timer = timer_of(link);

        if (timer->deadline > now) {
            place(wheel, timer);
            continue;
        }
        timer->slot = DUE;
        list_append(&due, link);
        sorted &= timer->deadline >= last;
        last = timer->deadline;
    }
    if (!sorted)
        sort(&due);
    splice(&wheel->due, &due);
}

static void advance(struct timers *wheel, int64_t now)
{
    uint64_t target = tick_of(now);

    if (target < wheel->tick)
        target = wheel->tick;
    while (wheel->levels) {
        unsigned slot = first_slot(wheel);
        uint64_t start = slot_start(wheel, slot);

        if (start > target)
            break;
        /* On level 0 only the slot of the present can hold a timer that isn't due. */
        if (slot < TIMER_SLOTS && wheel->slots[slot].earliest > now)
            break;
        wheel->tick = start;
        sweep(wheel, slot, now);
    }
    /* What remains starts after target, so it differs from it in the same group as before. */
    wheel->tick = target;
}

void gyre_timers_init(struct timers *wheel, int64_t now)
{
    *wheel = (struct timers){.tick = tick_of(now)};
    list_init(&wheel->due);
    for (unsigned slot = 0; slot < ARRAY_SIZE(wheel->slots); slot++) {
        list_init(&wheel->slots[slot].timers);
        wheel->slots[slot].earliest = INT64_MAX;
    }
    set_next(wheel, INT64_MAX);
}

bool gyre_wheel_start(struct timers *wheel, struct timer *timer, int64_t deadline)
{
    timer->deadline = deadline;
    timer->wheel = wheel;
    spin_lock(&wheel->lock);
    place(wheel, timer);
    bool first = deadline < timers_next(wheel);

    if (first)
        set_next(wheel, deadline);
    spin_unlock(&wheel->lock);
    return first;
}

/* Not list_remove: a pending timer is told by next alone. */
static void take_out(struct timer *timer)
{
    timer->link.previous->next = timer->link.next;
    timer->link.next->previous = timer->link.previous;
    timer->link.next = 0;
}

bool gyre_wheel_stop(struct timer *timer)
{
    struct timers *wheel = timer->wheel;

    if (!wheel)
        return false;
    spin_lock(&wheel->lock);
    bool pending = timer->link.next;

    if (pending) {
        take_out(timer);
        bool emptied = timer->slot != DUE && list_empty(&wheel->slots[timer->slot].timers);

        if (emptied)
            clear_slot(wheel, timer->slot);
        /* An emptied slot may have given next a bound that is older than this deadline. */
        if (emptied || timer->deadline <= timers_next(wheel))
            find_next(wheel);
    }
    spin_unlock(&wheel->lock);
    return pending;
}

unsigned gyre_timers_expire(struct timers *wheel, int64_t now)
{
    unsigned count = 0;

    if (likely(timers_next(wheel) > now))
        return 0;
    spin_lock(&wheel->lock);
    advance(wheel, now);
    while (!list_empty(&wheel->due)) {
        struct timer *timer = timer_of(wheel->due.next);

        take_out(timer);
        /* Now, since another thread may stop or expire timers while the callback runs. */
        find_next(wheel);
        spin_unlock(&wheel->lock);
        timer->fire(timer);
        count++;
        spin_lock(&wheel->lock);
    }
    find_next(wheel);
    spin_unlock(&wheel->lock);
    return count;
}

static void end_all(struct list *timers)
{
    struct list *link;

    while ((link = list_pop(timers))) {
        struct timer *timer = timer_of(link);

        link->next = 0;
        timer->wheel = 0;
        if (timer->fires_at_end)
            timer->fire(timer);
    }
}

void gyre_timers_end(struct timers *wheel)
{
    end_all(&wheel->due);
    for (unsigned slot = 0; slot < ARRAY_SIZE(wheel->slots); slot++)
        end_all(&wheel->slots[slot].timers);
}
