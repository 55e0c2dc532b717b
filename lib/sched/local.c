/*
 * Values of a coroutine: a short list, searched by the key's address. Programs have a handful of
 * keys; a hash table would cost every coroutine its memory.
 */
#include "base/text.h"
#include "sched/spawn.h"

#include <errno.h>
#include <stdlib.h>

struct local_entry {
    struct local_entry *next;
    const struct gyre_local *key;
    void *value;
};

static struct local_entry **find(struct gyre_coro *self, const struct gyre_local *key)
{
    struct local_entry **at = &self->locals;

    while (*at && (*at)->key != key)
        at = &(*at)->next;
    return at;
}

int gyre_local_set(const struct gyre_local *key, void *value)
{
    struct gyre_coro *self = coro_required("gyre_local_set");
    struct local_entry **at = find(self, key), *entry = *at;

    if (!value) {
        if (entry) {
            *at = entry->next;
            free(entry);
        }
        return 0;
    }
    if (!entry) {
        entry = malloc(sizeof *entry);
        if (!entry)
            return -ENOMEM;
        *entry = (struct local_entry){self->locals, key, value};
        self->locals = entry;
    }
    entry->value = value;
    return 0;
}

void *gyre_local_get(const struct gyre_local *key)
{
    struct gyre_coro *self = coro_required("gyre_local_get");
    struct local_entry *entry = *find(self, key);

    return entry ? entry->value : NULL;
}

CALLS_PROGRAM void gyre_local_destroy_all(struct gyre_coro *self)
{
    struct local_entry *entry;

    /* A destructor may set values again: go on until none is left. */
    while ((entry = self->locals)) {
        self->locals = entry->next;
        if (entry->key->destroy)
            entry->key->destroy(entry->value);
        free(entry);
    }
}
