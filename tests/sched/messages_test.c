/* Mailbox and injection queue by a single thread. */
#include "sched/inject.h"
#include "sched/mailbox.h"

#include <criterion/criterion.h>

Test(mailbox, gives_messages_in_the_order_of_their_pushes)
{
    struct mailbox mailbox;
    struct mailbox_message messages[5];

    mailbox_init(&mailbox);
    cr_expect(mailbox_empty(&mailbox));
    cr_expect_null(mailbox_take_all(&mailbox));
    for (int round = 0; round < 3; round++) {
        struct mailbox_message *list;

        for (int i = 0; i < 5; i++)
            cr_expect_eq(mailbox_push(&mailbox, &messages[i]), i == 0);
        cr_expect_not(mailbox_empty(&mailbox));
        list = mailbox_take_all(&mailbox);
        for (int i = 0; i < 5; i++, list = list->next)
            cr_assert_eq(list, &messages[i]);
        cr_expect_null(list);
        cr_expect(mailbox_empty(&mailbox));
    }
}

Test(inject, gives_items_in_the_order_of_their_pushes)
{
    struct inject queue;
    struct inject_link items[20], *batch[20];

    inject_init(&queue);
    cr_expect(inject_empty(&queue));
    cr_expect_null(inject_pop(&queue));
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 20; i++)
            inject_push(&queue, &items[i]);
        cr_expect_eq(inject_count(&queue), 20);
        cr_expect_eq(inject_pop(&queue), &items[0]);
        cr_expect_eq(inject_pop_batch(&queue, batch, 0), 0);
        cr_expect_eq(inject_pop_batch(&queue, batch, 12), 12);
        cr_expect(batch[0] == &items[1] && batch[11] == &items[12]);
        cr_expect_eq(inject_pop_batch(&queue, batch, 20), 7);
        cr_expect(batch[0] == &items[13] && batch[6] == &items[19]);
        cr_expect_eq(inject_pop_batch(&queue, batch, 20), 0);
        cr_expect(inject_empty(&queue));
    }
}
