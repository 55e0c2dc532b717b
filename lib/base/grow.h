/*
 * Option structures that can grow. Each begins with a size_t that says how much of it the program
 * was compiled with. An older program's shorter one is filled up with zeros, which mean the
 * default; a newer program's longer one is taken if what this library doesn't know is zero.
 */
#ifndef GYRE_LIB_BASE_GROW_H
#define GYRE_LIB_BASE_GROW_H

#include <errno.h>
#include <stddef.h>
#include <string.h>

/*
 * Copies from, whose first member says size, to a structure of known bytes; least is its size in
 * the first version that had it. Returns 0 or -EINVAL.
 */
static inline int grow_copy(void *to, size_t known, size_t least, const void *from, size_t size)
{
    if (size < least || size > 4096)
        return -EINVAL;
    for (size_t i = known; i < size; i++)
        if (((const char *)from)[i])
            return -EINVAL;
    memset(to, 0, known);
    memcpy(to, from, size < known ? size : known);
    memcpy(to, &known, sizeof known);
    return 0;
}

#endif
