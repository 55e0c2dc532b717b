/* The servers that know. */
#ifndef EXAMPLES_DNS_UPSTREAM_H
#define EXAMPLES_DNS_UPSTREAM_H

#include "message.h"

/* From main: literal addresses, separated by commas (the text is cut up and must stay), and how
 * long each has for an answer. Returns 0, or -EINVAL after a message. */
int upstream_setup(char *list, int64_t timeout);

/* Asks one after the other until one knows. Returns a held answer, a failure (SERVFAIL) that one of
 * them gave, or NULL: none answered, or the context has ended. Parks. */
struct answer *upstream_ask(const struct key *key);

#endif
