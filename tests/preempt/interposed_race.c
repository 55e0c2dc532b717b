/*
 * Hypothesis: the first use of a lock function, by several threads at once and before
 * libgyre-preempt was initialised, reaches the C library's function in each, and counts are right.
 * Aimed at the moment when one thread has looked a function up and another is about to. Each round
 * is a new process: there is one first use in each.
 *
 * usage: interposed_race [ROUNDS]
 */
#include "hooks.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <threads.h>
#include <unistd.h>

enum { THREADS = 8 };

static atomic_int ready, go, wrong;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_spinlock_t spinlock;
static mtx_t mtx;
static long by_mutex, by_file;

static void *use_first(void *arg)
{
    (void)arg;
    atomic_fetch_add(&ready, 1);
    while (!atomic_load(&go))
        sched_yield();
    pthread_mutex_lock(&mutex);
    wrong += held != 1;
    by_mutex++;
    pthread_mutex_unlock(&mutex);
    wrong += held != 0;
    if (!pthread_spin_trylock(&spinlock))
        pthread_spin_unlock(&spinlock);
    wrong += held != 0;
    pthread_rwlock_rdlock(&rwlock);
    mtx_lock(&mtx);
    flockfile(stderr);
    wrong += held != 3;
    by_file++;
    funlockfile(stderr);
    mtx_unlock(&mtx);
    pthread_rwlock_unlock(&rwlock);
    wrong += held != 0;
    return NULL;
}

static void race(int argc, char **argv, char **environment)
{
    pthread_t threads[THREADS];

    (void)environment;
    if (argc < 2 || strcmp(argv[1], "child"))
        return;
    set_hooks(count_acquired, count_released);
    pthread_spin_init(&spinlock, 0);
    mtx_init(&mtx, mtx_plain);
    for (int i = 0; i < THREADS; i++)
        CHECK(!pthread_create(&threads[i], NULL, use_first, NULL));
    while (atomic_load(&ready) < THREADS)
        sched_yield();
    atomic_store(&go, 1);
    for (int i = 0; i < THREADS; i++)
        CHECK(!pthread_join(threads[i], NULL));
    CHECK(atomic_load(&wrong) == 0);
    CHECK(by_mutex == THREADS && by_file == THREADS);
}

/* These run before all constructors, libraries' too. */
__attribute__((section(".preinit_array"), used)) static void (*const early)(int, char **,
                                                                            char **) = race;

int main(int argc, char **argv)
{
    static char child[] = "child";
    char *const arguments[] = {argv[0], child, NULL};
    int rounds = argc > 1 ? atoi(argv[1]) : 150;

    if (argc > 1 && !strcmp(argv[1], child))
        return 0;
    alarm(100);
    for (int i = 0; i < rounds; i++) {
        pid_t pid;
        int status;

        CHECK(!posix_spawn(&pid, "/proc/self/exe", NULL, NULL, arguments, environ));
        CHECK(waitpid(pid, &status, 0) == pid);
        if (status) {
            fprintf(stderr, "round %d: status %#x\n", i, (unsigned)status);
            return 1;
        }
    }
    return 0;
}
