/*
 * A leak and its fix. The caller waits for the first of two answers; the coroutine with the second
 * one then waits for ever to send it: nobody receives any more.
 *
 *     answers := make(chan int)                         the fix: make(chan int, 2)
 *     for i := range 2 { go func() { answers <- ask(i) }() }
 *     return <-answers
 *
 * gyre_test runs a function, on a clock that does not wait, and reports what it left behind. Here
 * it finds the leak, and nothing in the two repaired forms: room for every answer, or, better since
 * it also stops the work, a group whose end cancels whoever is still at it.
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

        if ((error = gyre_go_copy(ask, &query, sizeof query)))
            ints_release_sender(query.answers);
    }
    if (!error)
        error = ints_recv(answers.receiver, &first);
    ints_release(answers);
    return error < 0 ? error : first;
}

static int detached(void *arg)
{
    const size_t *room = arg;
    int error = ask_both(*room);

    return error < 0 ? error : gyre_sleep(GYRE_SECOND); /* time for all who can to end */
}

static int with_group(void *arg)
{
    int first, error;
    ints answers;

    (void)arg;
    if ((error = ints_make(&answers, 0)))
        return error;
    {
        GYRE_GROUP(queries); /* cancelled and awaited at the end of the block */
        for (int server = 1; server <= 2; server++) {
            struct query query = {server, ints_hold_sender(answers.sender)};

            if ((error = gyre_group_go_copy(&queries, ask, &query, sizeof query)))
                ints_release_sender(query.answers);
        }
        if (!error)
            error = ints_recv(answers.receiver, &first);
    }
    ints_release(answers);
    return error < 0 ? error : 0;
}

static const char *verdict(int result)
{
    return result == 0 ? "nothing left behind" : result == -ENOTRECOVERABLE ? "leaks" : "failed";
}

int main(void)
{
    size_t none = 0, both = 2;

    printf("no room: %s\n", verdict(gyre_test(detached, &none)));
    printf("room for both: %s\n", verdict(gyre_test(detached, &both)));
    printf("a group: %s\n", verdict(gyre_test(with_group, NULL)));
    return 0;
}
