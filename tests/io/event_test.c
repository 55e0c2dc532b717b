/* Event counters, inotify and futex words. */
#include "harness.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/wait.h>

static void expect_result(gyre_handle handle, int wanted)
{
    int result = 0;

    EXPECT_EQ(gyre_join(handle, &result), 0);
    EXPECT_EQ(result, wanted);
}

/* --- counters ----------------------------------------------------------------------------------
 */

static void *add_from_thread(void *fd)
{
    for (int i = 0; i < 1000; i++)
        if (gyre_event_add(*(int *)fd, 1))
            return fd;
    return NULL;
}

INSIDE(event, counts_what_other_threads_add)
{
    int fd = gyre_event_open(0, 0);
    uint64_t sum = 0, value;
    pthread_t thread;

    EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    EXPECT_EQ(pthread_create(&thread, NULL, add_from_thread, &fd), 0);
    while (sum < 1000) {
        EXPECT_EQ(gyre_event_take(fd, &value), 0);
        EXPECT(value > 0);
        sum += value;
    }
    EXPECT_EQ(sum, 1000);
    pthread_join(thread, NULL);
    EXPECT_EQ(gyre_close(fd), 0);
    return 0;
}

INSIDE(event, takes_all_or_one)
{
    uint64_t value = 0, most = UINT64_MAX - 1;
    int fd = gyre_event_open(5, 0), semaphore = gyre_event_open(2, EFD_SEMAPHORE);

    EXPECT_EQ(gyre_event_take(fd, &value), 0);
    EXPECT_EQ(value, 5);
    EXPECT_EQ(gyre_event_take(semaphore, &value), 0);
    EXPECT_EQ(value, 1);
    EXPECT_EQ(gyre_event_take(semaphore, &value), 0);
    value = 77;
    {
        GYRE_TIMEOUT(GYRE_MILLISECOND);
        EXPECT_EQ(gyre_event_take(semaphore, &value), -ETIMEDOUT);
        EXPECT_EQ(gyre_event_take(fd, &value), -ETIMEDOUT);
    }
    EXPECT_EQ(value, 77);
    close(fd);
    fd = gyre_event_open(most, 0);
    EXPECT_EQ(gyre_event_add(fd, 1), -EAGAIN);
    EXPECT_EQ(gyre_event_add(fd, UINT64_MAX), -EINVAL);
    EXPECT_EQ(gyre_event_take(fd, &value), 0);
    EXPECT(value == most);
    EXPECT_EQ(gyre_event_open(0, 1 << 30), -EINVAL);
    EXPECT_EQ(gyre_event_open(UINT64_MAX, 0), -EINVAL);
    EXPECT_EQ(gyre_event_add(-1, 1), -EBADF);
    EXPECT_EQ(gyre_event_take(-1, &value), -EBADF);
    close(fd);
    close(semaphore);
    return 0;
}

static int take_one(void *fd)
{
    uint64_t value = 0;
    int result = gyre_event_take(*(int *)fd, &value);

    return result ? result : (int)value;
}

INSIDE(event, goes_to_one_of_many_and_close_ends_the_others)
{
    int fd = gyre_event_open(0, 0);
    int results[4], given = 0;
    gyre_handle handles[4];

    for (int i = 0; i < 4; i++)
        EXPECT_EQ(gyre_spawn(&handles[i], take_one, &fd), 0);
    for (int i = 0; i < 4; i++)
        await_parked(handles[i]);
    EXPECT_EQ(gyre_event_add(fd, 3), 0);
    while (gyre_poll_many(&(struct pollfd){fd, POLLIN, 0}, 1, 0))
        gyre_yield();
    EXPECT_EQ(gyre_close(fd), 0);
    for (int i = 0; i < 4; i++) {
        EXPECT_EQ(gyre_join(handles[i], &results[i]), 0);
        given += results[i] == 3;
        EXPECT(results[i] == 3 || results[i] == -EBADF);
    }
    EXPECT_EQ(given, 1);
    return 0;
}

INSIDE(event, of_a_blocking_counter_holds_no_worker)
{
    int fd = eventfd(0, EFD_CLOEXEC);
    gyre_handle handle;

    EXPECT_EQ(gyre_spawn(&handle, take_one, &fd), 0);
    await_parked(handle);
    EXPECT_EQ(gyre_event_add(fd, 2), 0);
    expect_result(handle, 2);
    close(fd);
    return 0;
}

/* --- inotify -----------------------------------------------------------------------------------
 */

static int next_event(void *inotify)
{
    const struct inotify_event *event;

    return gyre_inotify_next(inotify, &event);
}

INSIDE(inotify, tells_each_change)
{
    char directory[] = "/tmp/gyre-inotify-XXXXXX", path[64];
    const struct inotify_event *event;
    struct gyre_inotify inotify;
    gyre_handle handle;
    int watch, fd;

    EXPECT(mkdtemp(directory));
    EXPECT_EQ(gyre_inotify_open(&inotify), 0);
    watch = gyre_inotify_add(&inotify, directory, IN_CREATE | IN_DELETE);
    EXPECT(watch >= 0);
    EXPECT_EQ(gyre_inotify_add(&inotify, "/no/such/thing", IN_CREATE), -ENOENT);
    EXPECT_EQ(gyre_inotify_add(&inotify, directory, 0), -EINVAL);
    for (int i = 0; i < 300; i++) { /* more than a buffer holds */
        snprintf(path, sizeof path, "%s/%0*d", directory, i % 20 + 1, i % 10);
        fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        close(fd);
        unlink(path);
    }
    for (int i = 0; i < 600; i++) {
        EXPECT_EQ(gyre_inotify_next(&inotify, &event), 1);
        EXPECT_EQ(event->wd, watch);
        EXPECT_EQ(event->mask, i % 2 ? IN_DELETE : IN_CREATE);
        EXPECT_EQ(strlen(event->name), (size_t)(i / 2 % 20 + 1));
        EXPECT_EQ(atoi(event->name), i / 2 % 10);
    }
    {
        GYRE_TIMEOUT(GYRE_MILLISECOND);
        EXPECT_EQ(gyre_inotify_next(&inotify, &event), -ETIMEDOUT);
    }
    EXPECT_EQ(gyre_inotify_remove(&inotify, watch), 0);
    EXPECT_EQ(gyre_inotify_remove(&inotify, watch), -EINVAL);
    EXPECT_EQ(gyre_inotify_next(&inotify, &event), 1);
    EXPECT_EQ(event->mask, IN_IGNORED);
    EXPECT_EQ(gyre_spawn(&handle, next_event, &inotify), 0);
    await_parked(handle);
    {
        GYRE_TIMEOUT(0);
        EXPECT_EQ(gyre_inotify_close(&inotify), 0);
    }
    expect_result(handle, -EBADF);
    EXPECT_EQ(gyre_inotify_close(&inotify), -EBADF);
    rmdir(directory);
    return 0;
}

static atomic_int turns;

static int count_turns(void *over)
{
    while (!atomic_load((atomic_int *)over)) {
        atomic_fetch_add(&turns, 1);
        gyre_yield();
    }
    return 0;
}

static int close_inotify(void *unused)
{
    struct gyre_inotify inotify;
    atomic_int over = 0;
    gyre_handle handle;
    int before;

    (void)unused;
    EXPECT_EQ(gyre_inotify_open(&inotify), 0);
    EXPECT(gyre_inotify_add(&inotify, "/tmp", IN_CREATE) >= 0);
    EXPECT_EQ(gyre_spawn(&handle, count_turns, &over), 0);
    gyre_yield();
    before = atomic_load(&turns);
    EXPECT_EQ(gyre_inotify_close(&inotify), 0);
    EXPECT(atomic_load(&turns) - before > 20); /* the one worker went on meanwhile */
    atomic_store(&over, 1);
    expect_result(handle, 0);
    return 0;
}

Test(inotify, closing_holds_no_worker)
{
    cr_assert_eq(run_with_workers(1, close_inotify, NULL), 0);
    cr_assert_eq(failed_expectations, 0);
}

/* --- futex words -------------------------------------------------------------------------------
 */

static bool has_futex_wait(void)
{
    uint32_t word = 1;

    return gyre_futex_wait(&word, 0, 0) != -EOPNOTSUPP;
}

struct wakes {
    uint32_t word;
    atomic_int ended;
};

static int wait_on(void *arg)
{
    struct wakes *wakes = arg;
    int result = gyre_futex_wait(&wakes->word, 1, 0);

    EXPECT(result == 0 || result == -EAGAIN); /* the thread may be faster */
    atomic_fetch_add(&wakes->ended, 1);
    return 0;
}

static void *wake_from_thread(void *arg)
{
    struct wakes *wakes = arg;

    while (gyre_futex_wake(&wakes->word, 1, 0) != 1)
        sched_yield();
    __atomic_store_n(&wakes->word, 2, __ATOMIC_RELEASE);
    while (atomic_load(&wakes->ended) < 3) {
        gyre_futex_wake(&wakes->word, 2, 0);
        sched_yield();
    }
    return NULL;
}

INSIDE(futex, waits_until_woken)
{
    struct wakes wakes = {.word = 1};
    gyre_handle handles[3];
    pthread_t thread;

    if (!has_futex_wait())
        return 0;
    EXPECT_EQ(gyre_futex_wait(&wakes.word, 0, 0), -EAGAIN);
    EXPECT_EQ(gyre_futex_wait((const uint32_t *)16, 0, 0), -EFAULT);
    EXPECT_EQ(gyre_futex_wake(&wakes.word, 1, 0), 0);
    EXPECT_EQ(gyre_futex_wake(&wakes.word, UINT32_MAX, 0), 0);
    EXPECT_EQ(gyre_futex_wake((const uint32_t *)16, 1, 1), -EFAULT);
    for (int i = 0; i < 3; i++)
        EXPECT_EQ(gyre_spawn(&handles[i], wait_on, &wakes), 0);
    EXPECT_EQ(pthread_create(&thread, NULL, wake_from_thread, &wakes), 0);
    for (int i = 0; i < 3; i++)
        expect_result(handles[i], 0);
    pthread_join(thread, NULL);
    return 0;
}

INSIDE(futex, is_ended_by_the_context)
{
    uint32_t word = 1;

    if (!has_futex_wait())
        return 0;
    for (int i = 0; i < 3; i++) {
        GYRE_TIMEOUT(GYRE_MILLISECOND);
        EXPECT_EQ(gyre_futex_wait(&word, 1, i % 2), -ETIMEDOUT);
        EXPECT_EQ(gyre_futex_wake(&word, 1, i % 2), 0);
    }
    return 0;
}

static int share_word(void *unused)
{
    uint32_t *word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child = fork();

    (void)unused;
    if (!child) {
        while (gyre_futex_wake(word, 1, 1) != 1)
            sched_yield();
        _exit(0);
    }
    if (has_futex_wait())
        EXPECT_EQ(gyre_futex_wait(word, 0, 1), 0);
    else
        kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    munmap(word, 4096);
    return 0;
}

Test(futex, is_shared_with_processes)
{
    run_on_each(share_word);
}

static int wait_without(void *unused)
{
    uint32_t word = 1;

    (void)unused;
    EXPECT_EQ(gyre_futex_wait(&word, 1, 0), -EOPNOTSUPP);
    return 0;
}

Test(futex, says_so_where_the_kernel_lacks_it)
{
    gyre_ring_masked[ABI_OP_FUTEX_WAIT / 64] |= (uint64_t)1 << ABI_OP_FUTEX_WAIT % 64;
    cr_assert_eq(run_with_workers(1, wait_without, NULL), 0);
    cr_assert_eq(failed_expectations, 0);
}
