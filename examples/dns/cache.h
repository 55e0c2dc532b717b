/*
 * Answers by their keys, for as long as they live, and the questions that are being asked: each
 * once, however many wait for it.
 */
#ifndef EXAMPLES_DNS_CACHE_H
#define EXAMPLES_DNS_CACHE_H

#include "message.h"

/* From main. entries: the most answers that are kept; the least recently used one goes. */
void cache_setup(size_t entries);

/* The answer, held, if it is known; else NULL. */
struct answer *cache_find(const struct key *key);

/* The answer, asked for if need be, or upstream_ask's failure. Parks. */
struct answer *cache_ask(const struct key *key);

/* At the end, when nobody asks. */
void cache_clear(void);

#endif
