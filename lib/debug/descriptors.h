/*
 * Which descriptors the process has open, by /proc/self/fd; where that can't be read, none, and
 * nothing is ever found missing. Descriptors that other threads of the program open meanwhile
 * count as well.
 */
#ifndef GYRE_LIB_DEBUG_DESCRIPTORS_H
#define GYRE_LIB_DEBUG_DESCRIPTORS_H

#include <stdbool.h>
#include <stddef.h>

struct descriptor_set {
    bool *open; /* by number; NULL: not known */
    size_t count;
};

void gyre_descriptor_set_read(struct descriptor_set *set);
void gyre_descriptor_set_free(struct descriptor_set *set);

/* Prints what each descriptor is that is open now and was not; returns how many. */
size_t gyre_descriptors_report_new(const struct descriptor_set *before);

#endif
