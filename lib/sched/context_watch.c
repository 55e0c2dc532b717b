/* Watches: on and off under the node's lock, called without it. */
#include "sched/context_watch.h"

static void take_off(struct context_watch *watch)
{
    *watch->place = watch->next;
    if (watch->next)
        watch->next->place = watch->place;
    watch->place = NULL;
}

bool gyre_context_watch(struct gyre_context *context, struct context_watch *watch)
{
    bool on;

    spin_lock(&context->members.lock);
    /* The error is set under this lock: it is seen here, or who sets it finds the watch. */
    on = !context_error(context);
    if (on) {
        watch->next = context->watches;
        watch->place = &context->watches;
        if (watch->next)
            watch->next->place = &watch->next;
        context->watches = watch;
    } else {
        watch->place = NULL;
    }
    spin_unlock(&context->members.lock);
    return on;
}

bool gyre_context_unwatch(struct gyre_context *context, struct context_watch *watch)
{
    bool on;

    spin_lock(&context->members.lock);
    on = watch->place;
    if (on)
        take_off(watch);
    spin_unlock(&context->members.lock);
    return on;
}

void gyre_context_call_watches(struct gyre_context *context)
{
    struct context_watch *watch;

    do {
        spin_lock(&context->members.lock);
        watch = context->watches;
        if (watch)
            take_off(watch);
        spin_unlock(&context->members.lock);
        if (watch)
            watch->call(watch);
    } while (watch);
}
