/* Registered buffers, and those that the kernel refuses to register. */
#include "files.h"

#include <sys/mman.h>

/* What the kernel refuses, for instance by RLIMIT_MEMLOCK. */
static atomic_bool refuse_tables, refuse_pinning;
static atomic_uint pinned;

int __real_io_uring_register_buffers_sparse(struct io_uring *ring, unsigned count);
int __wrap_io_uring_register_buffers_sparse(struct io_uring *ring, unsigned count);
int __wrap_io_uring_register_buffers_sparse(struct io_uring *ring, unsigned count)
{
    return refuse_tables ? -ENOMEM : __real_io_uring_register_buffers_sparse(ring, count);
}

int __real_io_uring_register_buffers_update_tag(struct io_uring *ring, unsigned first,
                                                const struct iovec *pieces, const __u64 *tags,
                                                unsigned count);
int __wrap_io_uring_register_buffers_update_tag(struct io_uring *ring, unsigned first,
                                                const struct iovec *pieces, const __u64 *tags,
                                                unsigned count);
int __wrap_io_uring_register_buffers_update_tag(struct io_uring *ring, unsigned first,
                                                const struct iovec *pieces, const __u64 *tags,
                                                unsigned count)
{
    int result = refuse_pinning ? -ENOMEM
                                : __real_io_uring_register_buffers_update_tag(ring, first, pieces,
                                                                              tags, count);

    pinned += pieces->iov_base && result == 1;
    return result;
}

/* Of the allocations that this thread makes, the one that fails; counted down to 0. */
static _Thread_local int fail_at;

static bool fails(void)
{
    return fail_at && !--fail_at;
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__real_mmap64(void *address, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *address, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
    return fails() ? MAP_FAILED : __real_mmap64(address, size, protection, flags, fd, offset);
}

static void carry(const struct place *place, struct gyre_buffers *buffers, unsigned index,
                  int flags)
{
    const size_t size = gyre_buffers_size(buffers);
    char *memory = gyre_buffers_at(buffers, index);
    int fd = make_unnamed(place, flags);

    memset(memory, 'a' + (int)(index % 20), size);
    EXPECT_EQ(gyre_pwrite_buffer(fd, buffers, index, size, 0), size);
    memset(memory, 0, size);
    EXPECT_EQ(gyre_pread_buffer(fd, buffers, index, size, 0), size);
    EXPECT(memory[0] == 'a' + (int)(index % 20) && memory[size - 1] == memory[0]);
    EXPECT_EQ(gyre_pread_buffer(fd, buffers, index, size, (off_t)size), 0);
    EXPECT_EQ(gyre_close(fd), 0);
}

static int use_buffers(void)
{
    struct place place;
    struct gyre_buffers *small, *large;
    int fd;

    make_place(&place);
    EXPECT_EQ(gyre_buffers_create(&small, 600, 4000), 0);
    EXPECT_EQ(gyre_buffers_create(&large, 2, 3 << 20), 0);
    EXPECT_EQ(gyre_buffers_size(small), 4096);
    EXPECT_EQ((uintptr_t)gyre_buffers_at(small, 599) % 4096, 0);
    EXPECT(!gyre_buffers_at(small, 600));
    carry(&place, small, 0, 0);
    carry(&place, small, 599, 0);
    carry(&place, large, 1, 0);
    carry(&place, small, 300, 0);
    fd = make_unnamed(&place, 0);
    EXPECT_EQ(gyre_pread_buffer(fd, small, 600, 1, 0), -EINVAL);
    EXPECT_EQ(gyre_pread_buffer(fd, small, 0, 4097, 0), -EINVAL);
    EXPECT_EQ(gyre_pread_buffer(fd, small, 0, 1, -1), -EINVAL);
    EXPECT_EQ(gyre_pread_buffer(-1, small, 0, 1, 0), -EBADF);
    {
        GYRE_TIMEOUT(0);
        EXPECT_EQ(gyre_pwrite_buffer(fd, small, 0, 1, 0), -ETIMEDOUT);
    }
    EXPECT_EQ(gyre_close(fd), 0);
    gyre_buffers_destroy(small);
    /* The slots are used again. */
    EXPECT_EQ(gyre_buffers_create(&small, 300, 4096), 0);
    carry(&place, small, 299, 0);
    carry(&place, large, 0, 0);
    gyre_buffers_destroy(large);
    gyre_buffers_destroy(small);
    gyre_buffers_destroy(NULL);
    remove_place(&place);
    return 0;
}

BOTH_WAYS(buffers, carry_what_is_written_and_read)
{
    return use_buffers();
}

BOTH_WAYS(buffers, are_plain_memory_where_a_table_is_refused)
{
    int result;

    refuse_tables = true;
    result = use_buffers();
    refuse_tables = false;
    return result;
}

BOTH_WAYS(buffers, are_plain_memory_where_pinning_is_refused)
{
    int result;

    refuse_pinning = true;
    result = use_buffers();
    refuse_pinning = false;
    return result;
}

INSIDE(buffers, the_ring_reads_into_registered_ones)
{
    unsigned before = pinned;

    EXPECT_EQ(use_buffers(), 0);
    EXPECT(!gyre_ring_supports(IORING_OP_READ_FIXED) || pinned > before);
    return 0;
}

INSIDE(buffers, direct_io_takes_them)
{
    struct place place;
    struct gyre_buffers *buffers;
    int fd;

    make_place(&place);
    fd = openat(place.fd, "probe", O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
    if (fd >= 0) {
        EXPECT_EQ(gyre_close(fd), 0);
        EXPECT_EQ(gyre_buffers_create(&buffers, 4, 4096), 0);
        carry(&place, buffers, 3, O_DIRECT);
        gyre_buffers_destroy(buffers);
    } else {
        fprintf(stderr, "no O_DIRECT here\n");
    }
    unlinkat(place.fd, "probe", 0);
    remove_place(&place);
    return 0;
}

struct share {
    struct gyre_buffers *buffers;
    const struct place *place;
    unsigned index;
};

static int carry_in_own_file(void *argument)
{
    struct share *share = argument;
    char *memory = gyre_buffers_at(share->buffers, share->index), name[8];
    int fd;

    snprintf(name, sizeof name, "%u", share->index);
    fd = openat(share->place->fd, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    for (int i = 0; i < 20; i++) {
        memset(memory, i, 4096);
        EXPECT_EQ(gyre_pwrite_buffer(fd, share->buffers, share->index, 4096, 0), 4096);
        memset(memory, 0x7f, 4096);
        EXPECT_EQ(gyre_pread_buffer(fd, share->buffers, share->index, 4096, 0), 4096);
        EXPECT_EQ(memory[4095], i);
    }
    EXPECT_EQ(gyre_close(fd), 0);
    EXPECT_EQ(unlinkat(share->place->fd, name, 0), 0);
    return 0;
}

INSIDE(buffers, every_worker_uses_them)
{
    enum { SHARES = 32 };
    struct place place;
    struct gyre_buffers *buffers;
    struct share shares[SHARES];
    gyre_handle handles[SHARES];

    make_place(&place);
    EXPECT_EQ(gyre_buffers_create(&buffers, 512, 4096), 0);
    for (unsigned i = 0; i < SHARES; i++) {
        shares[i] = (struct share){buffers, &place, i * 16};
        EXPECT_EQ(gyre_spawn(&handles[i], carry_in_own_file, &shares[i]), 0);
    }
    for (unsigned i = 0; i < SHARES; i++)
        EXPECT_EQ(result_of(handles[i]), 0);
    gyre_buffers_destroy(buffers);
    remove_place(&place);
    return 0;
}

INSIDE(buffers, absurd_sizes_are_refused)
{
    struct gyre_buffers *buffers = NULL;

    EXPECT_EQ(gyre_buffers_create(&buffers, 0, 1), -EINVAL);
    EXPECT_EQ(gyre_buffers_create(&buffers, 1, 0), -EINVAL);
    EXPECT_EQ(gyre_buffers_create(&buffers, 1, SIZE_MAX), -EINVAL);
    EXPECT_EQ(gyre_buffers_create(&buffers, 1000, SIZE_MAX / 2), -ENOMEM);
    EXPECT_EQ(gyre_buffers_create(&buffers, 4, (size_t)1 << 50), -ENOMEM);
    EXPECT(!buffers);
    return 0;
}

INSIDE(buffers, each_allocation_that_fails_leaves_nothing_behind)
{
    struct gyre_buffers *buffers = NULL;
    int failures = 0, result;

    do {
        fail_at = failures + 1; /* creating never parks */
        result = gyre_buffers_create(&buffers, 4, 4096);
        fail_at = 0;
        EXPECT(!result || (result == -ENOMEM && !buffers));
        failures += result != 0;
    } while (result && failures < 100);
    EXPECT_EQ(failures, 4);
    gyre_buffers_destroy(buffers);
    return 0;
}
