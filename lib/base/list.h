/* An intrusive circular doubly linked list. The caller provides the locking. */
#ifndef GYRE_LIB_BASE_LIST_H
#define GYRE_LIB_BASE_LIST_H

#include <stdbool.h>

struct list {
    struct list *next, *previous;
};

static inline void list_init(struct list *head)
{
    head->next = head->previous = head;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

static inline void list_append(struct list *head, struct list *item)
{
    item->next = head;
    item->previous = head->previous;
    head->previous->next = item;
    head->previous = item;
}

/* Leaves item linked to itself, so that removing it twice is harmless. */
static inline void list_remove(struct list *item)
{
    item->previous->next = item->next;
    item->next->previous = item->previous;
    list_init(item);
}

static inline struct list *list_pop(struct list *head)
{
    struct list *item = head->next;

    if (item == head)
        return 0;
    head->next = item->next;
    item->next->previous = head;
    list_init(item);
    return item;
}

#endif
