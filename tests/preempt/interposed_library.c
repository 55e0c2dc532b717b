/* A library that locks: its calls must be counted as the program's are. */
#include "interposed_library.h"

#include <stdio.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

int library_lock(void)
{
    return pthread_mutex_lock(&mutex);
}

int library_unlock(void)
{
    return pthread_mutex_unlock(&mutex);
}

void library_lock_file(void)
{
    flockfile(stdin);
}

void library_unlock_file(void)
{
    funlockfile(stdin);
}
