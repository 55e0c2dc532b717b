#include "ring/provided.h"

#include <errno.h>
#include <sys/mman.h>

unsigned gyre_provided_least = 64, gyre_provided_most = PROVIDED_MOST;

/* The kernel's ring, then the buffers. Without their memory being committed: most never are. */
static const size_t ring_bytes = PROVIDED_MOST * sizeof(struct io_uring_buf);
static const size_t all_bytes =
    PROVIDED_MOST * sizeof(struct io_uring_buf) + (size_t)PROVIDED_MOST * PROVIDED_SIZE;

static int register_ring(struct provided *buffers, struct ring *ring)
{
    struct io_uring_buf_reg reg = {.ring_addr = (uintptr_t)buffers->ring,
                                   .ring_entries = PROVIDED_MOST,
                                   .bgid = PROVIDED_GROUP};
    int error;

    /* The kernel counts from nought again. */
    __atomic_store_n(&buffers->ring->tail, 0, __ATOMIC_RELAXED);
    error = io_uring_register_buf_ring(&ring->uring, &reg, 0);
    buffers->registered = !error;
    return error;
}

/* With the lock. */
static void add(struct provided *buffers, unsigned id)
{
    uint16_t tail = __atomic_load_n(&buffers->ring->tail, __ATOMIC_RELAXED);
    struct io_uring_buf *entry = &buffers->ring->bufs[tail & (PROVIDED_MOST - 1)];

    buffer_set(&buffers->all[id], PROVIDED_IN_RING);
    entry->addr = (uintptr_t)provided_at(buffers, id);
    entry->len = PROVIDED_SIZE;
    entry->bid = (uint16_t)id;
    /* Release: pairs with the acquire in provided_left. Before the tail: taken never exceeds it. */
    atomic_store_explicit(&buffers->added,
                          atomic_load_explicit(&buffers->added, memory_order_relaxed) + 1,
                          memory_order_release);
    /* Release: pairs with the kernel's acquire. */
    __atomic_store_n(&buffers->ring->tail, (uint16_t)(tail + 1), __ATOMIC_RELEASE);
}

static void circulate(struct provided *buffers, unsigned count)
{
    atomic_store_explicit(&buffers->circulating, count, memory_order_relaxed);
}

static void make_idle(struct provided *buffers, unsigned id)
{
    buffer_set(&buffers->all[id], PROVIDED_IDLE);
    buffers->all[id].next = buffers->idle;
    buffers->idle = (uint16_t)id;
}

/* With the lock, while registered: so many more, or fewer if there are no more. */
static void supply(struct provided *buffers, unsigned count)
{
    while (count-- && buffers->idle != PROVIDED_NONE &&
           provided_circulating(buffers) < gyre_provided_most) {
        unsigned id = buffers->idle;

        buffers->idle = buffers->all[id].next;
        if (id >= buffers->used)
            buffers->used = (uint16_t)(id + 1);
        circulate(buffers, provided_circulating(buffers) + 1);
        add(buffers, id);
    }
}

bool gyre_provided_grow(struct provided *buffers)
{
    unsigned before = provided_circulating(buffers);

    if (!buffers->registered || buffers->settling)
        return false;
    supply(buffers, before ? before : gyre_provided_least);
    return provided_circulating(buffers) > before;
}

void gyre_provided_put(struct provided *buffers, unsigned id)
{
    if (likely(buffers->registered && !buffers->settling)) {
        add(buffers, id);
        return;
    }
    make_idle(buffers, id);
    circulate(buffers, provided_circulating(buffers) - 1);
}

int gyre_provided_init(struct provided *buffers, struct ring *ring)
{
    int error;

    if (!gyre_ring_supports(IORING_OP_PROVIDE_BUFFERS))
        return -EOPNOTSUPP;
    buffers->ring = mmap(NULL, all_bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (buffers->ring == MAP_FAILED)
        return -ENOMEM;
    buffers->memory = (char *)buffers->ring + ring_bytes;
    /* Only saves memory. */
    (void)madvise(buffers->memory, all_bytes - ring_bytes, MADV_NOHUGEPAGE);
    error = register_ring(buffers, ring);
    if (error) {
        munmap(buffers->ring, all_bytes);
        return error == -EINVAL ? -EOPNOTSUPP : error;
    }
    buffers->idle = PROVIDED_NONE;
    for (unsigned id = PROVIDED_MOST; id-- > 0;)
        make_idle(buffers, id);
    supply(buffers, gyre_provided_least);
    atomic_store_explicit(&buffers->least, gyre_provided_least, memory_order_relaxed);
    return 0;
}

unsigned gyre_provided_destroy(struct provided *buffers)
{
    unsigned lent = 0;

    for (unsigned id = 0; id < buffers->used; id++)
        lent += buffer_state(&buffers->all[id]) == PROVIDED_LENT;
    munmap(buffers->ring, all_bytes);
    return lent;
}

int gyre_provided_ready(struct provided *buffers, struct ring *ring)
{
    int error = 0;

    /* Only this thread writes it. */
    if (likely(buffers->registered))
        return 0;
    spin_lock(&buffers->lock);
    error = register_ring(buffers, ring);
    if (!error)
        supply(buffers, gyre_provided_least);
    spin_unlock(&buffers->lock);
    return error ? -ENOMEM : 0;
}

/* Everything that completed before has been handed to its target. */
static void settle(struct ring *ring, void *worker)
{
    while (ring_completed(ring) || ring_wants_enter(ring)) {
        gyre_ring_enter(ring, false, 0);
        if (!gyre_ring_reap(ring, worker))
            cpu_relax(); /* somebody else is at it */
    }
    spin_lock(&ring->reap_lock);
    spin_unlock(&ring->reap_lock);
}

static void release_pages(struct provided *buffers, unsigned from, unsigned to)
{
    if (to > from)
        (void)madvise(provided_at(buffers, from), (size_t)(to - from) * PROVIDED_SIZE,
                      MADV_DONTNEED);
}

/* With the lock: what nobody has taken becomes idle, and what is idle loses its pages. */
static void collect(struct provided *buffers)
{
    unsigned from = 0;

    for (unsigned id = 0; id < buffers->used; id++) {
        struct buffer *buffer = &buffers->all[id];

        if (buffer_state(buffer) == PROVIDED_IN_RING) {
            buffer_set(buffer, PROVIDED_IDLE);
            circulate(buffers, provided_circulating(buffers) - 1);
        }
        if (buffer_state(buffer) != PROVIDED_IDLE) {
            release_pages(buffers, from, id);
            from = id + 1;
        }
    }
    release_pages(buffers, from, buffers->used);
    buffers->used = 0;
    buffers->idle = PROVIDED_NONE;
    for (unsigned id = PROVIDED_MOST; id-- > 0;) {
        if (buffer_state(&buffers->all[id]) == PROVIDED_IDLE)
            make_idle(buffers, id);
        else if (id >= buffers->used)
            buffers->used = (uint16_t)(id + 1);
    }
}

void gyre_provided_trim(struct provided *buffers, struct ring *ring, void *worker, unsigned keep)
{
    if (!buffers->registered)
        return;
    spin_lock(&buffers->lock);
    buffers->settling = true;
    spin_unlock(&buffers->lock);
    io_uring_unregister_buf_ring(&ring->uring, PROVIDED_GROUP);
    settle(ring, worker);
    spin_lock(&buffers->lock);
    collect(buffers);
    atomic_store_explicit(&buffers->added,
                          atomic_load_explicit(&buffers->taken, memory_order_relaxed),
                          memory_order_relaxed);
    buffers->settling = false;
    if (!register_ring(buffers, ring) && keep > provided_circulating(buffers))
        supply(buffers, keep - provided_circulating(buffers));
    atomic_store_explicit(&buffers->least, provided_left(buffers), memory_order_relaxed);
    spin_unlock(&buffers->lock);
}
