/*
 * The memory of channels, and with checks on a list of those alive and a quarantine: a released
 * channel's memory keeps its count of zero until as many others were released, so that a late use
 * is noticed.
 */
#include "sync/chan.h"

#include "base/checks.h"
#include "base/list.h"
#include "base/message.h"
#include "base/panic.h"

#include <stdlib.h>

enum { QUARANTINE = 1024 };

struct record {
    _Alignas(16) struct list link;
    void *made_by;
    unsigned run;
};

static struct spinlock lock;
static struct list live = {&live, &live};
static struct record *quarantine[QUARANTINE];
static unsigned next;

static struct record *record_of(struct gyre_chan *chan)
{
    return (struct record *)chan - 1;
}

static size_t report_unreleased(void)
{
    size_t count = 0;

    spin_lock(&lock);
    for (struct list *item = live.next; item != &live; item = item->next) {
        struct record *record = container_of(item, struct record, link);
        const struct gyre_chan *chan = (struct gyre_chan *)(record + 1);
        char place[256];

        if (record->run != gyre_checks_run)
            continue;
        gyre_backtrace_name(record->made_by, place, sizeof place);
        gyre_message("leak: a channel was not released%s%s%s, made by %s", chan->name ? ", \"" : "",
                     chan->name ? chan->name : "", chan->name ? "\"" : "", place);
        count++;
    }
    spin_unlock(&lock);
    return count;
}

struct gyre_chan *gyre_chan_allocate(size_t size, bool recorded, void *made_by)
{
    struct record *record;

    if (likely(!recorded))
        return malloc(size);
    record = malloc(sizeof *record + size);
    if (!record)
        return NULL;
    record->made_by = made_by;
    record->run = gyre_checks_run;
    spin_lock(&lock);
    gyre_checks_channels = report_unreleased;
    list_append(&live, &record->link);
    spin_unlock(&lock);
    return (struct gyre_chan *)(record + 1);
}

void gyre_chan_free(struct gyre_chan *chan)
{
    struct record *record;

    if (likely(!chan->recorded)) {
        free(chan);
        return;
    }
    spin_lock(&lock);
    list_remove(&record_of(chan)->link);
    record = quarantine[next];
    quarantine[next] = record_of(chan);
    next = (next + 1) % QUARANTINE;
    spin_unlock(&lock);
    free(record);
}

size_t gyre_chan_live(void (*report)(const struct gyre_chan *chan, void *made_by))
{
    size_t count = 0;

    spin_lock(&lock);
    for (struct list *item = live.next; item != &live; item = item->next) {
        struct record *record = container_of(item, struct record, link);

        if (report)
            report((struct gyre_chan *)(record + 1), record->made_by);
        count++;
    }
    spin_unlock(&lock);
    return count;
}
