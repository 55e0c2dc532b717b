/*
 * Lookups on many workers, cancelled at any moment, while the files change under them: channels and
 * configurations are handed on, replaced and freed.
 */
#include "dns.h"
#include "net/resolver.h"

#include <gyre.h>
#include <gyre/resolve.h>

enum { WORKERS = 4, LOOKERS = 24, ROUNDS = 60 };

static const struct dns_rule rules[] = {{"one.test", DNS_A, DNS_ADDRESSES, "192.0.2.1"},
                                        {"one.test", 0, DNS_EMPTY, ""},
                                        {"slow.test", 0, DNS_ADDRESSES, "192.0.2.2 2001:db8::2", 3},
                                        {0}};

static atomic_int problems, found;

static int look(void *argument)
{
    static const char *const names[] = {"one.test", "filed.test", "slow.test", "nothing.test"};
    int64_t patience = (int64_t)(intptr_t)argument * 100 * GYRE_MICROSECOND;
    unsigned turn = (unsigned)(intptr_t)argument;

    for (int i = 0; i < ROUNDS; i++) {
        struct gyre_addresses addresses;
        int error;

        GYRE_TIMEOUT(patience * (i % 8 ? i % 8 : 100));
        error = gyre_resolve(names[turn++ % 4], 80, GYRE_FAMILY_ANY, &addresses);
        if (!error) {
            atomic_fetch_add(&found, 1);
            gyre_addresses_free(&addresses);
        } else if (error != -ETIMEDOUT && error != -ENOENT) {
            fprintf(stderr, "%s: %d\n", names[(turn - 1) % 4], error);
            atomic_fetch_add(&problems, 1);
        }
    }
    return 0;
}

static int change_files(void *unused)
{
    for (int i = 0; !gyre_context_error(); i++) {
        dns_write("GYRE_HOSTS", i % 2 ? "192.0.2.9 filed.test\n" : "192.0.2.9 x filed.test\n");
        gyre_resolver_look();
        gyre_sleep(GYRE_MILLISECOND);
    }
    (void)unused;
    return 0;
}

static int start(void *unused)
{
    gyre_handle changes;

    (void)unused;
    {
        GYRE_CANCELLABLE();
        if (gyre_spawn(&changes, change_files, NULL))
            return 1;
        {
            GYRE_NURSERY(group);

            for (intptr_t i = 1; i <= LOOKERS; i++)
                gyre_group_go(&group, look, (void *)i);
            if (gyre_group_wait(&group))
                return 1;
        }
    }
    gyre_join(changes, NULL);
    return 0;
}

int main(void)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;
    int error;

    options.workers = WORKERS;
    dns_start(rules, "nameserver 127.0.0.1\noptions timeout:5\nsearch .\n", "");
    error = gyre_run_options(start, NULL, &options);
    dns_stop();
    if (!atomic_load(&found)) {
        fprintf(stderr, "nothing was found\n");
        return 1;
    }
    return error || atomic_load(&problems);
}
