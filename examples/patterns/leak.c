/*
 * A leak and its fix. The caller waits for the first of two answers; the coroutine with the second
 * one then waits for ever to send it: nobody receives any more.
 *
 *     answers := make(chan int)                         the fix: make(chan int, 2)
 *     for i := range 2 { go func() { answers <- ask(i) }() }
 *     return <-answers
 *
 * gyre_test runs a function and reports what it left behind. Here it finds the leak, and nothing in
 * the two repaired forms: room for every answer, or, better since it also stops the work, a group
 * whose end cancels whoever is still at it.
 */
#include <gyre.h>

#include <errno.h>
#include <stdio.h>

GYRE_CHAN_TYPE(ints, int);

/* Asks a server and sends what it says; takes over a sender. */
struct query {
    int server;
    ints_sender answers;
};

static int ask(void *arg)
{
    const struct query *query = arg;
    int error = gyre_sleep(query->server * GYRE_MILLISECOND); /* the second is slower */

    if (!error)
        error = ints_send(query->answers, query->server);
    ints_release_sender(query->answers);
    return error;
}

static int ask_both(size_t room)
{
    ints answers;
    int first = 0, error = ints_make(&answers, room);

    if (error)
        return error;
    for (int server = 1; server <= 2; server++) {
        struct query query = {server, ints_hold_sender(answers.sender)};

        if (gyre_go_copy(ask, &query, sizeof query) < 0)
            ints_release_sender(query.answers);
    }
    error = ints_recv(answers.receiver, &first);
    ints_release(answers);
    return error < 0 ? error : first;
}

static int leaky(void *arg)
{
    (void)arg;
    return ask_both(0) == 1 ? gyre_sleep(GYRE_SECOND) : -EPROTO;
}

static int with_room(void *arg)
{
    (void)arg;
    return ask_both(2) == 1 ? gyre_sleep(GYRE_SECOND) : -EPROTO;
}

static int with_group(void *arg)
{
    int first = 0, error;
    ints answers;

    (void)arg;
    if ((error = ints_make(&answers, 0)))
        return error;
    {
        GYRE_GROUP(queries); /* cancelled and awaited at the end of the block */
        for (int server = 1; server <= 2; server++) {
            struct query query = {server, ints_hold_sender(answers.sender)};

            if (gyre_group_go_copy(&queries, ask, &query, sizeof query) < 0)
                ints_release_sender(query.answers);
        }
        error = ints_recv(answers.receiver, &first);
    }
    ints_release(answers);
    return error < 0 ? error : first == 1 ? 0 : -EPROTO;
}

static const char *verdict(int result)
{
    return result == 0 ? "nothing left behind" : result == -ENOTRECOVERABLE ? "leaks" : "failed";
}

int main(void)
{
    printf("no room: %s\n", verdict(gyre_test(leaky, NULL)));
    printf("room for both: %s\n", verdict(gyre_test(with_room, NULL)));
    printf("a group: %s\n", verdict(gyre_test(with_group, NULL)));
    return 0;
}
