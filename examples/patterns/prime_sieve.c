/*
 * The prime sieve: a chain of coroutines, one a prime, each of which lets pass what its prime does
 * not divide. What comes out of the chain's end is the next prime, and the next link.
 *
 *     ch := make(chan int)
 *     go generate(ch)
 *     for range 25 {
 *         prime := <-ch
 *         fmt.Println(prime)
 *         next := make(chan int)
 *         go filter(ch, next, prime)
 *         ch = next
 *     }
 *
 * In Go the chain outlives its use. Here it is a group, which the end of the block cancels.
 */
#include <gyre.h>

#include <stdio.h>

enum { PRIMES = 25 };

GYRE_CHAN_TYPE(ints, int);

struct link {
    int prime;
    ints_receiver in;
    ints_sender out;
};

static int generate(void *arg)
{
    const ints_sender *out = arg;
    int n = 2, error;

    while ((error = ints_send(*out, n)) == 0)
        n++;
    return error;
}

static int filter(void *arg)
{
    const struct link *link = arg;
    int n, error;

    while ((error = ints_recv(link->in, &n)) > 0)
        if (n % link->prime != 0 && (error = ints_send(link->out, n)) < 0)
            break;
    return error;
}

/* Prints the primes, each with a channel more; they are the caller's to release. */
static int sieve(ints chain[PRIMES + 1])
{
    int prime, error;

    GYRE_GROUP(links);
    if ((error = ints_make(&chain[0], 0)) ||
        (error = gyre_group_go(&links, generate, &chain[0].sender)))
        return error;
    for (int i = 0; i < PRIMES; i++) {
        if ((error = ints_recv(chain[i].receiver, &prime)) < 0)
            return error;
        printf(i ? " %d" : "%d", prime);
        if ((error = ints_make(&chain[i + 1], 0)))
            return error;
        struct link link = {prime, chain[i].receiver, chain[i + 1].sender};

        if ((error = gyre_group_go_copy(&links, filter, &link, sizeof link)))
            return error;
    }
    printf("\n");
    return 0;
}

static int start(void *arg)
{
    ints chain[PRIMES + 1] = {0};
    int error = sieve(chain);

    (void)arg;
    for (int i = 0; i <= PRIMES; i++)
        ints_release(chain[i]); /* nil is fine */
    return error;
}

int main(void)
{
    return gyre_run(start, NULL) < 0;
}
