/*
 * A map guarded by an RWMutex: any number of readers at once, or one writer. The mutex lives beside
 * what it guards, and only the map's own functions touch either.
 *
 *     type Stock struct { mu sync.RWMutex; items map[string]int }
 *     func (s *Stock) Get(item string) (int, bool) {
 *         s.mu.RLock()
 *         defer s.mu.RUnlock()
 *         n, ok := s.items[item]
 *         return n, ok
 *     }
 *
 * It pays where reading takes a while or is much more frequent than writing: for a few
 * instructions a plain mutex is cheaper.
 */
#include <gyre.h>

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { SLOTS = 64, CLERKS = 8, SALES = 100 };

struct stock {
    gyre_rwmutex mutex;
    struct item {
        const char *name; /* NULL: free */
        int count;
    } items[SLOTS]; /* open addressing; never full here */
};

static struct item *find(struct stock *stock, const char *name)
{
    unsigned hash = 5381;

    for (const char *c = name; *c; c++)
        hash = hash * 33 + (unsigned char)*c;
    while (stock->items[hash % SLOTS].name && strcmp(stock->items[hash % SLOTS].name, name) != 0)
        hash++;
    return &stock->items[hash % SLOTS];
}

static bool stock_get(struct stock *stock, const char *name, int *count)
{
    GYRE_RWMUTEX_RGUARD(&stock->mutex);
    const struct item *item = find(stock, name);

    if (!item->name)
        return false;
    *count = item->count;
    return true;
}

static void stock_add(struct stock *stock, const char *name, int count)
{
    GYRE_RWMUTEX_GUARD(&stock->mutex);
    struct item *item = find(stock, name);

    item->name = name;
    item->count += count;
}

static int sell(void *arg)
{
    static const char *const names[] = {"apples", "pears", "plums"};
    int left;

    for (int i = 0; i < SALES; i++) {
        const char *name = names[i % 3];

        if (!stock_get(arg, name, &left) || left == 0)
            return -1;
        stock_add(arg, name, -1);
    }
    return 0;
}

static int start(void *arg)
{
    static struct stock stock; /* zeroed is unlocked */
    int error, left = 0;

    (void)arg;
    stock_add(&stock, "apples", 1000);
    stock_add(&stock, "pears", 1000);
    stock_add(&stock, "plums", 1000);

    GYRE_GROUP(clerks);
    for (int i = 0; i < CLERKS; i++)
        gyre_group_go(&clerks, sell, &stock);
    if ((error = gyre_group_wait(&clerks)))
        return error;
    stock_get(&stock, "apples", &left);
    printf("%d apples are left, and %s cherries\n", left,
           stock_get(&stock, "cherries", &left) ? "some" : "no");
    return 0;
}

int main(void)
{
    return gyre_run(start, NULL) < 0;
}
