/*
 * usage: text_facts [memory] [NAME...]: which facts of the process the map has to state, out of
 * no_program, static_libc, own_malloc, uses_locks; "memory": run from a file that is in no folder
 * any more. Linked in different ways; with -DOWN_MALLOC, -DLOCKS it is what these facts are about.
 */
#include "base/text.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int failed;

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            printf("%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                         \
            failed = 1;                                                                            \
        }                                                                                          \
    } while (0)

#ifdef OWN_MALLOC
static _Alignas(16) char arena[8 << 20];
static size_t used;

void *malloc(size_t size)
{
    char *block = arena + used;

    used += (size + 31) / 16 * 16;
    if (used > sizeof arena)
        return NULL;
    memcpy(block, &size, sizeof size);
    return block + 16;
}

void free(void *block)
{
    (void)block;
}

void *calloc(size_t count, size_t size)
{
    return malloc(count * size);
}

void *realloc(void *block, size_t size)
{
    void *other = malloc(size);

    if (other && block)
        memcpy(other, block, size); /* what is behind is the arena's */
    return other;
}
#endif

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void lock(void)
{
#ifdef LOCKS
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
#endif
    (void)mutex;
}

static int run_from_memory(char **argv)
{
    int from = open("/proc/self/exe", O_RDONLY), to = memfd_create("program", 0);
    struct stat status;
    char *bytes;

    if (from < 0 || to < 0 || fstat(from, &status))
        return 1;
    bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, from, 0);
    if (bytes == MAP_FAILED || write(to, bytes, (size_t)status.st_size) != status.st_size)
        return 1;
    argv[1] = "no_such_fact";
    fexecve(to, argv, environ);
    return 1;
}

static bool is_asked(char **argv, const char *name)
{
    for (; *argv; argv++)
        if (!strcmp(*argv, name))
            return true;
    return false;
}

#ifdef UNWATCHED
/* Linked with --wrap: as where it is forbidden. */
ssize_t __wrap_process_vm_readv(void);

ssize_t __wrap_process_vm_readv(void)
{
    errno = EPERM;
    return -1;
}

/* With a library that might be unloaded unseen nothing is the program's. */
static void with_library_that_is_not_watched(void)
{
    struct text_map *map;

    EXPECT(dlopen(LIBRARY, RTLD_NOW) && !gyre_text_map_make(&map) && map->no_program);
    EXPECT(text_kind_at(map, (uintptr_t)run_from_memory) == TEXT_LIBRARY);
    EXPECT(!gyre_text_map_stale(map));
}
#endif

#if defined(LIBRARY) && !defined(UNWATCHED)
/* A fact of libraries, too, as long as they are there. */
static void with_library_that_locks(void)
{
    void *library = dlopen(LIBRARY, RTLD_NOW);
    struct text_map *map;

    EXPECT(library && !gyre_text_map_make(&map) && map->uses_locks);
    dlclose(library);
    EXPECT(!gyre_text_map_make(&map) && !map->uses_locks);
}
#endif

int main(int argc, char **argv)
{
    void *volatile function = (void *)malloc; /* what stands here for the C library's is not it */
    struct text_map *map;

    if (argc > 1 && !strcmp(argv[1], "memory"))
        return run_from_memory(argv);
    lock();
    if (!function || gyre_text_map_make(&map))
        return 1;
    EXPECT(map->no_program == is_asked(argv, "no_program"));
    EXPECT(map->static_libc == is_asked(argv, "static_libc"));
    EXPECT(map->own_malloc == is_asked(argv, "own_malloc"));
    EXPECT(map->uses_locks == is_asked(argv, "uses_locks"));
    EXPECT(!gyre_text_map_stale(map));
    EXPECT(text_kind_at(map, (uintptr_t)main) == TEXT_PROGRAM);
    EXPECT(text_kind_at(map, (uintptr_t)gyre_text_map_make) == TEXT_RUNTIME);
#ifdef UNWATCHED
    with_library_that_is_not_watched();
#elif defined(LIBRARY)
    with_library_that_locks();
#endif
    return failed;
}
