/* Two-level tables, so that a high number costs a chunk and not the whole range. */
#include "io/descriptor.h"

#include <errno.h>
#include <stdlib.h>

/* Chunks are published once and stay until the runtime ends. */
static _Atomic(struct descriptor *) chunks[DESCRIPTOR_CHUNKS];

void (*gyre_descriptors_end)(void);

static struct descriptor *make_chunk(unsigned index)
{
    struct descriptor *fresh = calloc(DESCRIPTOR_CHUNK, sizeof *fresh), *expected = NULL;

    if (!fresh)
        return NULL;
    /* Release: pairs with the acquire of the look-up. */
    if (atomic_compare_exchange_strong_explicit(&chunks[index], &expected, fresh,
                                                memory_order_acq_rel, memory_order_acquire))
        return fresh;
    free(fresh);
    return expected;
}

struct descriptor *gyre_descriptor_get(int fd)
{
    unsigned index = (unsigned)fd / DESCRIPTOR_CHUNK;
    struct descriptor *chunk;

    if (unlikely(index >= DESCRIPTOR_CHUNKS))
        return NULL;
    chunk = atomic_load_explicit(&chunks[index], memory_order_acquire);
    if (unlikely(!chunk))
        chunk = make_chunk(index);
    return chunk ? &chunk[(unsigned)fd % DESCRIPTOR_CHUNK] : NULL;
}

/* When the runtime ends, for each worker in turn. */
static void cleanup(struct worker *worker)
{
    for (unsigned i = 0; i < DESCRIPTOR_CHUNKS; i++) {
        if (worker->descriptors)
            free(worker->descriptors[i]);
        free(atomic_exchange_explicit(&chunks[i], NULL, memory_order_relaxed));
    }
    free(worker->descriptors);
    worker->descriptors = NULL;
    if (gyre_descriptors_end)
        gyre_descriptors_end();
}

struct descriptor_counts *gyre_descriptor_counts(struct worker *worker, int fd)
{
    unsigned index = (unsigned)fd / DESCRIPTOR_CHUNK;
    struct descriptor_counts *chunk;

    if (unlikely(index >= DESCRIPTOR_CHUNKS))
        return NULL;
    if (unlikely(!worker->descriptors)) {
        worker->cleanup = cleanup; /* the shared table is its business too */
        worker->descriptors = calloc(DESCRIPTOR_CHUNKS, sizeof(void *));
        if (!worker->descriptors)
            return NULL;
    }
    chunk = worker->descriptors[index];
    if (unlikely(!chunk)) {
        chunk = calloc(DESCRIPTOR_CHUNK, sizeof *chunk);
        worker->descriptors[index] = chunk;
    }
    return chunk ? &chunk[(unsigned)fd % DESCRIPTOR_CHUNK] : NULL;
}
