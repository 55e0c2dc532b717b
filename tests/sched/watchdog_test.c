/*
 * A worker that is stuck, in a plain read(2) or a section: what waits there reaches the other
 * worker. Where it does not, these hang. And nobody is disturbed when all sleep.
 */
#include "inside.h"

#include "base/clock.h"
#include "sched/worker.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PEERS = 24 };

static int gate[2]; /* who is stuck reads here */
static atomic_int stuck, done;

static void open_gate(void)
{
    EXPECT_EQ(pipe(gate), 0);
    atomic_store(&stuck, 0);
    atomic_store(&done, 0);
}

static void close_gate(void)
{
    close(gate[0]);
    close(gate[1]);
}

static int hold_worker(void *unused)
{
    char byte;

    (void)unused;
    atomic_fetch_add(&stuck, 1);
    EXPECT_EQ(read(gate[0], &byte, 1), 1);
    return 0;
}

static void let_go(void)
{
    EXPECT_EQ(write(gate[1], "x", 1), 1);
}

static void on_two_workers(gyre_fn fn)
{
    cr_assert_eq(run_with_workers(2, fn, NULL), 0);
    cr_assert_eq(failed_expectations, 0);
}

#define BESIDE_STUCK(suite, name)                                                                  \
    static int beside_##name(void *unused_);                                                       \
    Test(suite, name, .timeout = 60)                                                               \
    {                                                                                              \
        on_two_workers(beside_##name);                                                             \
    }                                                                                              \
    static int beside_##name(__attribute__((unused)) void *unused_)

/* --- what waits there --------------------------------------------------------------------------
 */

struct peer {
    int ends[2];
    int error;
};

static int answer(void *argument)
{
    struct peer *peer = argument;
    char byte;

    while (gyre_read(peer->ends[1], &byte, 1) == 1)
        if (gyre_write(peer->ends[1], &byte, 1) != 1)
            return -EIO;
    return 0;
}

static void exchange_with(struct peer *peers, char byte)
{
    for (int i = 0; i < PEERS; i++)
        EXPECT_EQ(write(peers[i].ends[0], &byte, 1), 1);
    for (int i = 0; i < PEERS; i++) {
        char got = 0;

        EXPECT_EQ(gyre_read(peers[i].ends[0], &got, 1), 1);
        EXPECT_EQ(got, byte);
    }
}

BESIDE_STUCK(stuck, reads_and_writes_go_on)
{
    struct peer peers[PEERS];
    GYRE_GROUP(group);
    gyre_handle handle;

    open_gate();
    for (int i = 0; i < PEERS; i++) {
        EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, peers[i].ends), 0);
        gyre_group_go(&group, answer, &peers[i]);
    }
    exchange_with(peers, 'a');
    gyre_spawn(&handle, hold_worker, NULL);
    await_flag(&stuck, 1);
    for (char byte = 'b'; byte < 'g'; byte++)
        exchange_with(peers, byte);
    let_go();
    EXPECT_EQ(gyre_join(handle, NULL), 0);
    for (int i = 0; i < PEERS; i++)
        gyre_close(peers[i].ends[0]);
    EXPECT_EQ(gyre_group_wait(&group), 0);
    for (int i = 0; i < PEERS; i++)
        gyre_close(peers[i].ends[1]);
    close_gate();
    return 0;
}

static int sleep_once(void *unused)
{
    (void)unused;
    EXPECT_EQ(gyre_sleep(3 * GYRE_MILLISECOND), 0);
    atomic_fetch_add(&done, 1);
    return 0;
}

BESIDE_STUCK(stuck, timers_fire)
{
    gyre_handle handle;

    open_gate();
    for (int i = 0; i < PEERS; i++)
        gyre_go(sleep_once, NULL);
    gyre_spawn(&handle, hold_worker, NULL);
    while (atomic_load(&done) < PEERS)
        EXPECT_EQ(gyre_sleep(GYRE_MILLISECOND), 0);
    let_go();
    EXPECT_EQ(gyre_join(handle, NULL), 0);
    close_gate();
    return 0;
}

#ifdef PREEMPT_SIGNALS
static int read_until_cancelled(void *fd)
{
    char byte;
    int result = gyre_read(*(int *)fd, &byte, 1);

    EXPECT_EQ(result, -ECANCELED);
    atomic_fetch_add(&done, 1);
    return 0;
}

BESIDE_STUCK(stuck, operations_are_cancelled)
{
    int never[2];
    gyre_handle handle;

    open_gate();
    EXPECT_EQ(pipe(never), 0);
    {
        GYRE_CANCELLABLE();
        for (int i = 0; i < PEERS; i++)
            gyre_go(read_until_cancelled, &never[0]);
        EXPECT_EQ(gyre_sleep(3 * GYRE_MILLISECOND), 0);
        {
            GYRE_SHIELD();
            gyre_spawn(&handle, hold_worker, NULL);
        }
        while (!atomic_load(&stuck))
            EXPECT_EQ(gyre_sleep(GYRE_MILLISECOND), 0);
    }
    while (atomic_load(&done) < PEERS)
        EXPECT_EQ(gyre_sleep(GYRE_MILLISECOND), 0);
    let_go();
    EXPECT_EQ(gyre_join(handle, NULL), 0);
    gyre_close(never[0]);
    gyre_close(never[1]);
    close_gate();
    return 0;
}
#endif

#ifdef PREEMPT_SIGNALS
/* The read was not submitted when the next one took hold of the worker. */
static int read_then_let_go(void *fd)
{
    char byte;

    EXPECT_EQ(gyre_read(*(int *)fd, &byte, 1), 1);
    let_go();
    return 0;
}

static int begin_read_and_hold(void *fd)
{
    gyre_handle reader, holder;

    /* The newest runs first here: the reader parks, then the other is next. */
    gyre_spawn(&holder, hold_worker, NULL);
    gyre_spawn(&reader, read_then_let_go, fd);
    EXPECT_EQ(gyre_join(reader, NULL), 0);
    EXPECT_EQ(gyre_join(holder, NULL), 0);
    return 0;
}

BESIDE_STUCK(stuck, what_was_not_submitted_is)
{
    int ready[2];

    open_gate();
    EXPECT_EQ(pipe(ready), 0);
    EXPECT_EQ(write(ready[1], "x", 1), 1);
    begin_read_and_hold(&ready[0]);
    gyre_close(ready[0]);
    gyre_close(ready[1]);
    close_gate();
    return 0;
}
#endif

static int receive(void *receiver)
{
    int value;

    EXPECT_EQ(gyre_chan_recv(*(gyre_receiver *)receiver, &value), 1);
    let_go();
    return 0;
}

BESIDE_STUCK(stuck, who_was_just_woken_runs_elsewhere)
{
    gyre_channel channel;
    gyre_handle handle;

    open_gate();
    EXPECT_EQ(gyre_chan_make(&channel, sizeof(int), 0), 0);
    gyre_spawn(&handle, receive, &channel.receiver);
    for (int i = 0; i < 100; i++)
        gyre_yield();
    EXPECT_EQ(gyre_chan_send(channel.sender, &(int){1}), 0);
    hold_worker(NULL);
    EXPECT_EQ(gyre_join(handle, NULL), 0);
    gyre_chan_release(channel);
    close_gate();
    return 0;
}

static int hold_in_section(void *unused)
{
    (void)unused;
    gyre_preempt_off();
    atomic_fetch_add(&stuck, 1);
    while (!atomic_load_explicit(&done, memory_order_relaxed))
        ;
    gyre_preempt_on();
    return 0;
}

BESIDE_STUCK(stuck, in_a_section_that_is_not_interrupted)
{
    struct peer peers[PEERS];
    GYRE_GROUP(group);
    gyre_handle handle;

    open_gate();
    for (int i = 0; i < PEERS; i++) {
        EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, peers[i].ends), 0);
        gyre_group_go(&group, answer, &peers[i]);
    }
    exchange_with(peers, 'a');
    gyre_spawn(&handle, hold_in_section, NULL);
    await_flag(&stuck, 1);
    exchange_with(peers, 'b');
    atomic_store(&done, 1);
    EXPECT_EQ(gyre_join(handle, NULL), 0);
    for (int i = 0; i < PEERS; i++)
        gyre_close(peers[i].ends[0]);
    EXPECT_EQ(gyre_group_wait(&group), 0);
    for (int i = 0; i < PEERS; i++)
        gyre_close(peers[i].ends[1]);
    close_gate();
    return 0;
}

/* Whose worker owns the listener from then on. */
static int accept_then_hold(void *listener)
{
    int fd = gyre_accept(listener);

    EXPECT(fd >= 0);
    gyre_close(fd);
    return hold_worker(NULL);
}

BESIDE_STUCK(stuck, connections_are_accepted)
{
    struct gyre_spawn_options options = GYRE_SPAWN_INIT;
    struct gyre_listener *listener = NULL;
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    gyre_handle handle;

    open_gate();
    EXPECT_EQ(gyre_tcp_listen(&listener, "127.0.0.1:0"), 0);
    EXPECT_EQ(getsockname(gyre_listener_fd(listener), (struct sockaddr *)&address, &length), 0);
    options.flags = GYRE_SPAWN_PINNED;
    options.worker = gyre_worker_index() == 0 ? 2 : 1;
    gyre_spawn_at(GYRE_SITE("acceptor"), &handle, accept_then_hold, listener, &options);
    /* More than it accepts ahead. */
    for (int i = 0; i < 150; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0), accepted;

        EXPECT_EQ(connect(fd, (struct sockaddr *)&address, length), 0);
        if (i == 0)
            await_flag(&stuck, 1);
        accepted = i ? gyre_accept(listener) : 0;
        EXPECT(accepted >= 0);
        if (i)
            close(accepted);
        close(fd);
    }
    let_go();
    EXPECT_EQ(gyre_join(handle, NULL), 0);
    gyre_listener_close(listener);
    close_gate();
    return 0;
}

/* --- races of the helpers, made certain --------------------------------------------------------
 */

bool __real_gyre_wheel_start(struct timers *wheel, struct timer *timer, int64_t deadline);
bool __wrap_gyre_wheel_start(struct timers *wheel, struct timer *timer, int64_t deadline);
int __real_gyre_ring_enter(struct ring *ring, bool wait, int64_t timeout);
int __wrap_gyre_ring_enter(struct ring *ring, bool wait, int64_t timeout);

static atomic_bool stall_start, stall_enter;
static struct worker *stalled;

/* As if the thread lost its CPU right here, for as long as it takes the others to fire the timer.
 */
bool __wrap_gyre_wheel_start(struct timers *wheel, struct timer *timer, int64_t deadline)
{
    bool first = __real_gyre_wheel_start(wheel, timer, deadline);

    if (atomic_exchange(&stall_start, false))
        while (timers_next(wheel) <= deadline)
            sched_yield();
    return first;
}

static int keep_awake(void *unused)
{
    (void)unused;
    while (!atomic_load(&done))
        gyre_yield();
    return 0;
}

BESIDE_STUCK(helped, a_sleep_whose_timer_fires_before_its_park_is_committed)
{
    gyre_handle handle;

    atomic_store(&done, 0);
    gyre_spawn(&handle, keep_awake, NULL);
    for (int i = 0; i < 5; i++) {
        atomic_store(&stall_start, true);
        EXPECT_EQ(gyre_sleep(GYRE_MILLISECOND), 0);
    }
    atomic_store(&done, 1);
    EXPECT_EQ(gyre_join(handle, NULL), 0);
    return 0;
}

BESIDE_STUCK(helped, a_select_whose_timer_fires_before_its_park_is_committed)
{
    gyre_handle handle;

    atomic_store(&done, 0);
    gyre_spawn(&handle, keep_awake, NULL);
    for (int i = 0; i < 5; i++) {
        struct gyre_case after = gyre_case_after(GYRE_MILLISECOND);

        atomic_store(&stall_start, true);
        EXPECT_EQ(gyre_select_n(&after, 1), 0);
    }
    atomic_store(&done, 1);
    EXPECT_EQ(gyre_join(handle, NULL), 0);
    return 0;
}

/* As if it did so between its last look and the kernel, until somebody reaped its ring. */
int __wrap_gyre_ring_enter(struct ring *ring, bool wait, int64_t timeout)
{
    struct worker *worker = worker_current();

    /* Not before the pinned one has had the first value and waits for the second. */
    if (wait && worker == stalled && atomic_load(&done) == 2 &&
        atomic_exchange(&stall_enter, false)) {
        const unsigned *head = ring->uring.cq.khead;
        unsigned before = __atomic_load_n(head, __ATOMIC_RELAXED);

        atomic_store(&stuck, 1);
        while (__atomic_load_n(head, __ATOMIC_RELAXED) == before)
            sched_yield();
        /* What a helper does after it reaped has been done, or never is. */
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    return __real_gyre_ring_enter(ring, wait, timeout);
}

static int wait_pinned(void *receiver)
{
    int value;

    do
        atomic_fetch_add(&done, 1);
    while (gyre_chan_recv(*(gyre_receiver *)receiver, &value) == 1);
    return 0;
}

/* On the other worker, where it yields and so helps. */
static int wake_and_help(void *sender)
{
    EXPECT_EQ(gyre_chan_send(*(gyre_sender *)sender, &(int){1}), 0);
    while (!atomic_load(&stuck)) /* it waits again, and its worker is about to sleep */
        gyre_yield();
    EXPECT_EQ(gyre_chan_send(*(gyre_sender *)sender, &(int){2}), 0);
    while (atomic_load(&done) < 3)
        gyre_yield();
    gyre_chan_close(*(gyre_sender *)sender);
    return 0;
}

BESIDE_STUCK(helped, a_wake_that_a_helper_reaped)
{
    struct gyre_spawn_options options = GYRE_SPAWN_INIT;
    gyre_channel channel;
    gyre_handle waiter, waker;

    atomic_store(&done, 0);
    atomic_store(&stuck, 0);
    EXPECT_EQ(gyre_chan_make(&channel, sizeof(int), 0), 0);
    stalled = &gyre_runtime_current()->workers[1];
    atomic_store(&stall_enter, true);
    options.flags = GYRE_SPAWN_PINNED;
    options.worker = 2;
    gyre_spawn_at(GYRE_SITE("waiter"), &waiter, wait_pinned, &channel.receiver, &options);
    options.worker = 1;
    gyre_spawn_at(GYRE_SITE("waker"), &waker, wake_and_help, &channel.sender, &options);
    EXPECT_EQ(gyre_join(waker, NULL), 0);
    EXPECT_EQ(gyre_join(waiter, NULL), 0);
    gyre_chan_release(channel);
    return 0;
}

/* --- reports -----------------------------------------------------------------------------------
 */

#ifdef PREEMPT_SIGNALS
static int hold_for_a_while(void *unused)
{
    (void)unused;
    /* Broken off by the very signal that asks. */
    while (!strstr(messages, "has held worker"))
        nanosleep(&(struct timespec){0, 100000000}, NULL);
    return 0;
}

static int be_reported(void *unused)
{
    struct gyre_spawn_options options = GYRE_SPAWN_INIT;
    gyre_handle handle;

    (void)unused;
    options.name = "holder";
    gyre_spawn_at(GYRE_SITE("hold"), &handle, hold_for_a_while, NULL, &options);
    return gyre_join(handle, NULL);
}

Test(report, names_who_holds_a_worker_and_where, .timeout = 30)
{
    unsigned long id;
    unsigned worker;
    long held;
    int end = 0, fields;

    setenv("GYRE_WATCHDOG", "20ms", 1);
    note_messages();
    cr_assert_eq(run_with_workers(2, be_reported, NULL), 0);
    fields = sscanf(messages,
                    "gyre: watchdog: coroutine %lu \"holder\", started at watchdog_test.c:%*u, has "
                    "held worker %u for %ld ms:%n",
                    &id, &worker, &held, &end);
    cr_assert_eq(fields, 3, "%s", messages);
    cr_assert(end > 0 && worker < 2 && held >= 20 && id > 1, "%s", messages);
    cr_assert(strstr(messages + end, "nanosleep"), "%s", messages);
    cr_assert_not(strstr(messages, "(nil)"), "%s", messages);
    cr_assert_eq(strncmp(messages + end, "\n    ", 5), 0, "%s", messages);
}

Test(report, is_off_by_default_and_once, .timeout = 30)
{
    setenv("GYRE_WATCHDOG", "off", 1);
    note_messages();
    memcpy(messages, "has held worker", 16); /* at once */
    cr_assert_eq(run_with_workers(2, be_reported, NULL), 0);
    cr_assert_str_eq(messages, "has held worker");
}
#endif

/* --- the idle machine --------------------------------------------------------------------------
 */

/* Of all threads of the process. */
static unsigned long switches(void)
{
    DIR *tasks = opendir("/proc/self/task");
    unsigned long sum = 0;
    struct dirent *entry;

    while (tasks && (entry = readdir(tasks))) {
        char path[300], line[128];
        unsigned long count;
        FILE *status;

        snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
        status = fopen(path, "r");
        while (status && fgets(line, sizeof line, status))
            if (sscanf(line, "voluntary_ctxt_switches: %lu", &count) == 1)
                sum += count;
        if (status)
            fclose(status);
    }
    if (tasks)
        closedir(tasks);
    return sum;
}

INSIDE(idle, nobody_wakes_up)
{
    unsigned long before;

    /* The watchdog looks a few times more before it believes it. */
    EXPECT_EQ(gyre_sleep(60 * GYRE_MILLISECOND), 0);
    before = switches();
    EXPECT_EQ(gyre_sleep(300 * GYRE_MILLISECOND), 0);
    EXPECT(switches() - before < 15);
    return 0;
}
