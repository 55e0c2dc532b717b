/* Coroutines for the C++ test, in C as the runtime itself: eight of them, by number. */
#ifndef GYRE_TESTS_CORO_EXCEPTIONS_C_H
#define GYRE_TESTS_CORO_EXCEPTIONS_C_H

#ifdef __cplusplus
extern "C" {
#endif

void coroutine_adopt(void); /* by each thread that resumes */
void coroutine_start(int number, void (*run)(long arg), long arg);
void coroutine_resume(int number);
void coroutine_leave(void); /* the one that runs */

#ifdef __cplusplus
}
#endif

#endif
