/*
 * Buffers between canaries: whoever writes outside, or after the call that the buffer was lent to
 * has returned, is found out when the buffer's turn comes again.
 */
#ifndef GYRE_TESTS_IO_CANARY_H
#define GYRE_TESTS_IO_CANARY_H

#include "stress.h"

enum { CANARY_BUFFERS = 16, CANARY_ROOM = 1024, CANARY_MARGIN = 64 };

struct canary_buffer {
    unsigned char bytes[CANARY_MARGIN + CANARY_ROOM + CANARY_MARGIN];
    size_t used; /* bytes that the call may have written */
    uint32_t sum;
};

struct canary_ring {
    struct canary_buffer buffers[CANARY_BUFFERS];
    unsigned next;
};

static inline uint32_t canary_sum(const unsigned char *bytes, size_t size)
{
    uint32_t sum = 1;

    for (size_t i = 0; i < size; i++)
        sum = sum * 31 + bytes[i];
    return sum;
}

static inline void canary_check(const struct canary_buffer *buffer)
{
    const unsigned char *bytes = buffer->bytes;

    for (size_t i = 0; i < CANARY_MARGIN; i++)
        CHECK_EQ(bytes[i], 0xa5);
    for (size_t i = CANARY_MARGIN + buffer->used; i < sizeof buffer->bytes; i++)
        CHECK_EQ(bytes[i], 0xa5);
    CHECK_EQ(canary_sum(bytes + CANARY_MARGIN, buffer->used), buffer->sum);
}

/* A buffer for one call, of size bytes, all canary. */
static inline char *canary_take(struct canary_ring *ring, size_t size)
{
    struct canary_buffer *buffer = &ring->buffers[ring->next];

    CHECK(size <= CANARY_ROOM);
    if (buffer->sum)
        canary_check(buffer);
    memset(buffer->bytes, 0xa5, sizeof buffer->bytes);
    return (char *)buffer->bytes + CANARY_MARGIN;
}

/* The call has returned and has written used bytes at most. */
static inline void canary_give(struct canary_ring *ring, size_t used)
{
    struct canary_buffer *buffer = &ring->buffers[ring->next];

    buffer->used = used;
    buffer->sum = canary_sum(buffer->bytes + CANARY_MARGIN, used);
    canary_check(buffer);
    ring->next = (ring->next + 1) % CANARY_BUFFERS;
}

static inline void canary_check_all(const struct canary_ring *ring)
{
    for (int i = 0; i < CANARY_BUFFERS; i++)
        if (ring->buffers[i].sum)
            canary_check(&ring->buffers[i]);
}

#endif
