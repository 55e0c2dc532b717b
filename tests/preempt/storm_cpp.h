/* storm.h for programs in C++, whose parts stand in `cpp_parts`; storm_cpp.c has their main. */
#ifndef GYRE_TESTS_PREEMPT_STORM_CPP_H
#define GYRE_TESTS_PREEMPT_STORM_CPP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct cpp_part {
    const char *name;
    void (*play)(uint64_t *rounds); /* until cpp_over() */
    unsigned copies;
};

extern const struct cpp_part cpp_parts[];
extern const size_t cpp_part_count;

bool cpp_over(void);
void cpp_compute(unsigned times); /* each up to 20 us */
void cpp_park(uint64_t n);        /* yields, sleeps, or goes on: as n says */
void cpp_fail(const char *file, int line, const char *what) __attribute__((noreturn));

#ifdef __cplusplus
}
#endif

#define CPP_CHECK(condition)                                                                       \
    do {                                                                                           \
        if (!(condition))                                                                          \
            cpp_fail(__FILE__, __LINE__, #condition);                                              \
    } while (0)

#endif
