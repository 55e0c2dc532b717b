/*
 * Buffers that are registered with the rings.
 *
 * The memory is cut into pieces of whole buffers, about PIECE_SIZE each, and a piece takes one slot
 * of the table of registered buffers, which is the same number on every ring. A worker registers a
 * piece when a coroutine on it first uses one of its buffers: only the ring's own thread may, and
 * pinning a piece holds it up for no more than some 100 us. Where a slot, the table or the pinning
 * is refused the piece is plain memory for that worker.
 *
 * Invariants
 * - A ring's state of a piece is written by its worker alone, except in destroy, when nobody uses
 *   the buffers.
 * - A slot belongs to one piece from create to destroy. What a ring still has in it afterwards (an
 *   unregistration that failed) is replaced when the next owner registers.
 *
 * Rejected: a slot for each buffer (a table of a million); one for all (the first use would pin a
 * gigabyte at once).
 */
#include "fs/buffers.h"

#include "base/spinlock.h"
#include "fs/read_at.h"

#include <gyre/file.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SLOTS = 4096, PIECE_SIZE = 1 << 20 };

enum piece_state { PIECE_UNUSED, PIECE_REGISTERED, PIECE_REFUSED };

struct gyre_buffers {
    char *memory;
    size_t size; /* of one */
    unsigned count, per_piece, pieces;
    int *slots;      /* of each piece; -1: none was left */
    uint8_t *states; /* of each worker, of each piece */
};

static struct {
    struct spinlock lock;
    uint64_t used[SLOTS / 64];
} table;

static int take_slot(void)
{
    int slot = -1;

    spin_lock(&table.lock);
    for (int word = 0; word < SLOTS / 64 && slot < 0; word++)
        if (~table.used[word]) {
            int bit = __builtin_ctzll(~table.used[word]);

            table.used[word] |= (uint64_t)1 << bit;
            slot = word * 64 + bit;
        }
    spin_unlock(&table.lock);
    return slot;
}

static void give_slot(int slot)
{
    if (slot < 0)
        return;
    spin_lock(&table.lock);
    table.used[slot / 64] &= ~((uint64_t)1 << (slot % 64));
    spin_unlock(&table.lock);
}

/* --- registering ------------------------------------------------------------------------------ */

static bool has_table(struct ring *ring)
{
    if (!ring->buffer_table)
        ring->buffer_table = io_uring_register_buffers_sparse(&ring->uring, SLOTS) < 0 ? -1 : 1;
    return ring->buffer_table > 0;
}

static bool put_in_slot(struct ring *ring, int slot, void *memory, size_t size)
{
    struct iovec piece = {memory, size};
    __u64 tag = 0;

    return io_uring_register_buffers_update_tag(&ring->uring, (unsigned)slot, &piece, &tag, 1) == 1;
}

static bool register_piece(const struct gyre_buffers *buffers, unsigned piece, struct ring *ring)
{
    unsigned first = piece * buffers->per_piece, left = buffers->count - first;
    size_t count = left < buffers->per_piece ? left : buffers->per_piece;

    return buffers->slots[piece] >= 0 && gyre_ring_supports(IORING_OP_READ_FIXED) &&
           gyre_ring_supports(IORING_OP_WRITE_FIXED) && has_table(ring) &&
           put_in_slot(ring, buffers->slots[piece], buffers->memory + first * buffers->size,
                       count * buffers->size);
}

int gyre_buffers_slot(struct gyre_buffers *buffers, unsigned index, struct worker *worker)
{
    unsigned piece = index / buffers->per_piece;
    uint8_t *state = &buffers->states[(size_t)worker->index * buffers->pieces + piece];

    if (unlikely(*state == PIECE_UNUSED))
        *state = register_piece(buffers, piece, &worker->ring) ? PIECE_REGISTERED : PIECE_REFUSED;
    return likely(*state == PIECE_REGISTERED) ? buffers->slots[piece] : -1;
}

/* --- creating --------------------------------------------------------------------------------- */

static void free_buffers(struct gyre_buffers *buffers)
{
    free(buffers->slots);
    free(buffers->states);
    free(buffers);
}

int gyre_buffers_create(struct gyre_buffers **created, unsigned count, size_t size)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct gyre_buffers *buffers;
    size_t total;

    coro_required("gyre_buffers_create");
    if (!created || !count || !size || __builtin_add_overflow(size, page - 1, &size))
        return -EINVAL;
    size &= ~(page - 1);
    if (__builtin_mul_overflow(size, count, &total))
        return -ENOMEM;
    buffers = calloc(1, sizeof *buffers);
    if (!buffers)
        return -ENOMEM;
    buffers->size = size;
    buffers->count = count;
    buffers->per_piece = size < PIECE_SIZE ? (unsigned)(PIECE_SIZE / size) : 1;
    buffers->pieces = (count - 1) / buffers->per_piece + 1;
    buffers->slots = malloc(buffers->pieces * sizeof *buffers->slots);
    buffers->states = calloc(buffers->pieces, gyre_runtime_instance->worker_count);
    buffers->memory = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!buffers->slots || !buffers->states || buffers->memory == MAP_FAILED) {
        if (buffers->memory != MAP_FAILED)
            munmap(buffers->memory, total);
        free_buffers(buffers);
        return -ENOMEM;
    }
    for (unsigned i = 0; i < buffers->pieces; i++)
        buffers->slots[i] = take_slot();
    *created = buffers;
    return 0;
}

void *gyre_buffers_at(const struct gyre_buffers *buffers, unsigned index)
{
    return index < buffers->count ? buffers->memory + index * buffers->size : NULL;
}

size_t gyre_buffers_size(const struct gyre_buffers *buffers)
{
    return buffers->size;
}

/* --- destroying ------------------------------------------------------------------------------- */

/* Visits the workers that registered something, one after the other. */
struct release {
    struct mailbox_message message;
    struct gyre_buffers *buffers;
    struct gyre_coro *waiter;
    unsigned next_worker;
};

static bool any_registered(struct gyre_buffers *buffers, const struct worker *worker)
{
    return memchr(&buffers->states[(size_t)worker->index * buffers->pieces], PIECE_REGISTERED,
                  buffers->pieces) != NULL;
}

static void advance(struct release *release)
{
    struct gyre_runtime *runtime = gyre_runtime_instance;

    while (release->next_worker < runtime->worker_count) {
        struct worker *worker = &runtime->workers[release->next_worker++];

        if (any_registered(release->buffers, worker)) {
            mailbox_push(&worker->mailbox, &release->message);
            full_barrier();
            gyre_worker_notify(worker);
            return;
        }
    }
    gyre_ready(release->waiter);
}

/* On the worker's own thread. */
static void handle_release(void *argument, struct mailbox_message *message)
{
    struct release *release = container_of(message, struct release, message);
    struct gyre_buffers *buffers = release->buffers;
    struct worker *worker = argument;
    uint8_t *states = &buffers->states[(size_t)worker->index * buffers->pieces];

    for (unsigned i = 0; i < buffers->pieces; i++)
        if (states[i] == PIECE_REGISTERED)
            put_in_slot(&worker->ring, buffers->slots[i], NULL, 0);
    advance(release);
}

static void commit_release(struct worker *worker, struct gyre_coro *self, void *argument)
{
    (void)worker;
    (void)self;
    advance(argument);
}

void gyre_buffers_destroy(struct gyre_buffers *buffers)
{
    struct release release = {.message.handle = handle_release, .buffers = buffers};

    release.waiter = coro_required("gyre_buffers_destroy");
    if (!buffers)
        return;
    gyre_park(worker_current(), PARK_CLOSE, commit_release, &release);
    for (unsigned i = 0; i < buffers->pieces; i++)
        give_slot(buffers->slots[i]);
    munmap(buffers->memory, buffers->count * buffers->size);
    free_buffers(buffers);
}

/* --- using ------------------------------------------------------------------------------------ */

static ssize_t access_buffer(const char *call, int fd, enum access_kind kind,
                             struct gyre_buffers *buffers, unsigned index, size_t size,
                             off_t offset)
{
    struct operation operation = {0};

    if (index >= buffers->count || size > buffers->size) {
        coro_required(call);
        return -EINVAL;
    }
    return gyre_access(call, &operation, fd,
                       &(struct access){.kind = kind,
                                        .buffer = gyre_buffers_at(buffers, index),
                                        .size = size,
                                        .offset = offset,
                                        .buffers = buffers,
                                        .index = index});
}

ssize_t gyre_pread_buffer(int fd, struct gyre_buffers *buffers, unsigned index, size_t size,
                          off_t offset)
{
    return access_buffer("gyre_pread_buffer", fd, ACCESS_READ, buffers, index, size, offset);
}

ssize_t gyre_pwrite_buffer(int fd, struct gyre_buffers *buffers, unsigned index, size_t size,
                           off_t offset)
{
    return access_buffer("gyre_pwrite_buffer", fd, ACCESS_WRITE, buffers, index, size, offset);
}
