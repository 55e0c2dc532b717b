/*
 * Criterion's Test() and a few assertions, or (with PLAIN_CASES) a stand-in for where Criterion is
 * not: the same file is then a program of its own, for another architecture under an emulator.
 */
#ifndef GYRE_TESTS_CORO_CASES_H
#define GYRE_TESTS_CORO_CASES_H

#ifndef PLAIN_CASES

#include <criterion/criterion.h>

#else

#include <stdio.h>
#include <stdlib.h>

#define CASES_MAX 64

static struct {
    const char *label;
    void (*run)(void);
} cases[CASES_MAX];
static int case_count;

#define Test(suite, name)                                                                          \
    static void case_##suite##_##name(void);                                                       \
    __attribute__((constructor)) static void register_##suite##_##name(void)                       \
    {                                                                                              \
        cases[case_count].label = #suite "/" #name;                                                \
        cases[case_count++].run = case_##suite##_##name;                                           \
    }                                                                                              \
    static void case_##suite##_##name(void)

#define cr_assert(condition, ...)                                                                  \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)
#define cr_assert_eq(a, b, ...)  cr_assert((a) == (b))
#define cr_assert_neq(a, b, ...) cr_assert((a) != (b))

int main(void)
{
    for (int i = 0; i < case_count; i++) {
        printf("%s\n", cases[i].label);
        fflush(stdout);
        cases[i].run();
    }
    return 0;
}

#endif
#endif
