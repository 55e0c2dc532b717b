/*
 * A tree of the C library's (search.h), which no choice of names makes slow, and a ring through the
 * entries that have an answer, the last used one first. An item is in the tree from the question
 * on, so that whoever asks the same meanwhile finds it and waits for its wait group, which counts
 * the one coroutine that asks.
 *
 * One lock for all: it is held for a search and a few pointers.
 */
#include "cache.h"
#include "upstream.h"

#include <gyre.h>

#include <search.h>
#include <stdlib.h>
#include <string.h>

struct item {
    struct item *next, *previous; /* insque's: first */
    struct key key;
    gyre_waitgroup asking;
    unsigned users;        /* who asks, who waits, the ring; the lock's */
    bool known;            /* is in the ring; the lock's */
    struct answer *answer; /* NULL: none was got */
};

static struct {
    gyre_mutex lock;
    void *tree;
    struct item ring; /* the first and last of those known */
    size_t count, most;
} cache;

void cache_setup(size_t entries)
{
    cache.most = entries;
    cache.ring.next = cache.ring.previous = &cache.ring;
}

static int compare(const void *a, const void *b)
{
    const struct key *x = &((const struct item *)a)->key, *y = &((const struct item *)b)->key;

    return x->size != y->size ? (x->size < y->size ? -1 : 1) : memcmp(x->bytes, y->bytes, x->size);
}

/* Those below are called with the lock held. */

static void item_leave(struct item *item)
{
    if (--item->users)
        return;
    answer_release(item->answer);
    free(item);
}

static void item_forget(struct item *item)
{
    remque(item);
    cache.count--;
    tdelete(item, &cache.tree, compare);
    item_leave(item);
}

static void item_keep(struct item *item)
{
    if (cache.count == cache.most)
        item_forget(cache.ring.previous);
    item->known = true;
    item->users++;
    insque(item, &cache.ring);
    cache.count++;
}

/* Removed, if it has had its time. */
static struct item *item_find(const struct item *like)
{
    void *found = tfind(like, &cache.tree, compare);
    struct item *item = found ? *(struct item **)found : NULL;

    if (item && item->known) {
        if (!answer_is_fresh(item->answer)) {
            item_forget(item);
            return NULL;
        }
        remque(item);
        insque(item, &cache.ring);
    }
    return item;
}

static struct item *item_make(const struct key *key)
{
    struct item *item = calloc(1, sizeof *item);

    if (!item)
        return NULL;
    item->key = *key;
    item->users = 1;
    if (!tsearch(item, &cache.tree, compare)) {
        free(item);
        return NULL;
    }
    gyre_waitgroup_add(&item->asking, 1);
    return item;
}

struct answer *cache_find(const struct key *key)
{
    struct item like, *item;

    like.key.size = key->size;
    memcpy(like.key.bytes, key->bytes, key->size);
    GYRE_MUTEX_GUARD(&cache.lock);
    item = item_find(&like);
    return item && item->known ? answer_hold(item->answer) : NULL;
}

static struct answer *item_ask(struct item *item)
{
    struct answer *answer = upstream_ask(&item->key);

    GYRE_MUTEX_GUARD(&cache.lock);
    item->answer = answer_hold(answer);
    gyre_waitgroup_done(&item->asking);
    if (answer && answer->lifetime && cache.most)
        item_keep(item);
    else
        tdelete(item, &cache.tree, compare);
    item_leave(item);
    return answer;
}

static struct answer *item_wait(struct item *item)
{
    /* Once it is there its answer does not change any more. */
    struct answer *answer = gyre_waitgroup_wait(&item->asking) ? NULL : answer_hold(item->answer);

    GYRE_MUTEX_GUARD(&cache.lock);
    item_leave(item);
    return answer;
}

struct answer *cache_ask(const struct key *key)
{
    struct item like = {.key = *key}, *item;
    bool ours = false;

    gyre_mutex_lock(&cache.lock);
    item = item_find(&like);
    if (item) {
        item->users++;
    } else {
        item = item_make(key);
        ours = true;
    }
    gyre_mutex_unlock(&cache.lock);
    if (!item)
        return NULL;
    return ours ? item_ask(item) : item_wait(item);
}

void cache_clear(void)
{
    while (cache.ring.next != &cache.ring)
        item_forget(cache.ring.next);
}
