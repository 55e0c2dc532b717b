/* Reports allocate nothing: the next in order is searched for among all, for as many as are told
 * of. */
#include "sched/report.h"

#include "base/message.h"

enum { REPORT_MAX = 20 };

static const char *const park_words[] = {
    [PARK_NONE] = "not begun",
    [PARK_YIELD] = "yielding",
    [PARK_SLEEP] = "sleeping",
    [PARK_JOIN] = "joining",
    [PARK_OPERATION] = "in an operation of the kernel's",
    [PARK_ACCEPT] = "accepting",
    [PARK_FEED] = "waiting for a feed's next piece",
    [PARK_CLOSE] = "closing",
    [PARK_SEND] = "sending to a channel",
    [PARK_RECV] = "receiving from a channel",
    [PARK_SELECT] = "in a select",
    [PARK_MUTEX] = "locking a mutex",
    [PARK_RWMUTEX] = "locking a read-write mutex",
    [PARK_WAITGROUP] = "waiting for a waitgroup",
    [PARK_ONCE] = "waiting for a once",
    [PARK_COND] = "waiting for a condition",
    [PARK_SEMAPHORE] = "acquiring a semaphore",
    [PARK_BARRIER] = "waiting at a barrier",
    [PARK_GROUP] = "waiting for a group",
    [PARK_CONTEXT] = "waiting for a context's function",
    [PARK_BLOCKING] = "in gyre_blocking",
    [PARK_TEST] = "in gyre_test_wait",
    [PARK_PREEMPTED] = "computing",
};

const char *gyre_park_words(unsigned reason)
{
    return reason < ARRAY_SIZE(park_words) && park_words[reason] ? park_words[reason] : "parked";
}

struct search {
    enum report_kind kind;
    const struct gyre_coro *but;
    uint64_t above; /* the number of the last one told of */
    struct gyre_coro *next;
    size_t count;
};

static bool of_kind(const struct gyre_coro *coro, enum report_kind kind)
{
    /* Acquire: as coro_alive. */
    uintptr_t life = atomic_load_explicit(&coro->life, memory_order_acquire);

    return kind == REPORT_ALIVE ? life & LIFE_ALIVE : !life && coro->id;
}

static void look(struct stack_block *block, void *argument)
{
    struct gyre_coro *coro = container_of(block, struct gyre_coro, stack);
    struct search *search = argument;

    if (!of_kind(coro, search->kind) || coro == search->but)
        return;
    search->count++;
    if (coro->id > search->above && (!search->next || coro->id < search->next->id))
        search->next = coro;
}

/* The owners change it as they please: only for a glance at who is stuck. */
#ifdef __clang__
__attribute__((no_sanitize("thread")))
#endif
static bool
runs(struct gyre_runtime *runtime, const struct gyre_coro *coro)
{
    for (unsigned i = 0; i < runtime->worker_count; i++)
        if (runtime->workers[i].running == coro)
            return true;
    return false;
}

size_t gyre_report_count(struct gyre_runtime *runtime, enum report_kind kind,
                         const struct gyre_coro *but)
{
    struct search search = {.kind = kind, .but = but};

    gyre_stack_each(&runtime->stacks, look, &search);
    return search.count;
}

static const char *doing(struct gyre_runtime *runtime, const struct gyre_coro *coro)
{
    if (!coro_alive(coro))
        return "ended";
    return runs(runtime, coro) ? "running" : gyre_park_words(coro->park_reason);
}

void gyre_report_lines(struct gyre_runtime *runtime, enum report_kind kind,
                       const struct gyre_coro *but)
{
    struct search search = {.kind = kind, .but = but};

    for (size_t told = 0; told < REPORT_MAX; told++) {
        struct gyre_coro *coro;

        search.next = NULL;
        search.count = 0;
        gyre_stack_each(&runtime->stacks, look, &search);
        coro = search.next;
        if (!coro)
            return;
        search.above = coro->id;
        gyre_message_line("  %lu \"%s\", started at %s, %s", (unsigned long)coro->id,
                          coro_name(coro), coro_started_at(coro), doing(runtime, coro));
    }
    if (search.count > REPORT_MAX)
        gyre_message_line("  and %zu more", search.count - REPORT_MAX);
}
