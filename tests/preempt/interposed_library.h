#ifndef GYRE_TESTS_PREEMPT_INTERPOSED_LIBRARY_H
#define GYRE_TESTS_PREEMPT_INTERPOSED_LIBRARY_H

#include <pthread.h>

int library_lock(void);
int library_unlock(void);
void library_lock_file(void);
void library_unlock_file(void);

#endif
