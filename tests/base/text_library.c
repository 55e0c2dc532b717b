/* A program's own library: with a function that is not interrupted, and, by -DLOCKS, a lock. */
#include <gyre/preempt.h>

#include <pthread.h>

int text_library_plain(int n);
int text_library_guarded(int n);

int text_library_plain(int n)
{
    return n + 1;
}

GYRE_NO_PREEMPT int text_library_guarded(int n)
{
#ifdef LOCKS
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
#endif
    return n - 1;
}
