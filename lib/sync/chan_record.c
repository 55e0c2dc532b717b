/*
 * The memory of channels, and with checks on a list of those alive and a quarantine: a released
 * channel's memory keeps its count of zero until as many others were released, so that a late use
 * is noticed.
 */
#include "sync/chan.h"

#include "base/list.h"

#include <stdlib.h>

enum { QUARANTINE = 1024 };

struct record {
    _Alignas(16) struct list link;
    void *made_by;
};

static struct spinlock lock;
static struct list live = {&live, &live};
static struct record *quarantine[QUARANTINE];
static unsigned next;

static struct record *record_of(struct gyre_chan *chan)
{
    return (struct record *)chan - 1;
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
    spin_lock(&lock);
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
