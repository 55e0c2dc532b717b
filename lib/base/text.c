/*
 * The map of the process's code.
 *
 * The objects are copied out of dl_iterate_phdr, with the dynamic linker's lock held and without
 * any call that may take another (no malloc: a heap profiler's may be waiting for this lock); their
 * files are read afterwards. What can't be known for sure counts as a library's, which is safe:
 * code is interrupted less.
 *
 * Where gyre is. As a shared library it is an object of its own. In libgyre.a all code is in
 * section gyre_text, or gyre_entry, whose bounds the linker tells, so that it can be told from the
 * program's in the same object; if these symbols are missing, the object is left alone as a whole.
 *
 * Whether the map still holds. dl_iterate_phdr's counters can't be read in a handler, for its lock
 * may be held. So the linker's list is compared, link by link, with what it was. A new object comes
 * at its end before any of its code runs, and a library that has a frame on the interrupted stack
 * is in the list as long as that frame is there. Up to the dynamic linker itself, usually the last
 * of those that were there when the program started, no object is ever unloaded: with nothing
 * behind it, one load tells. Behind it stand those that were loaded at run time, and another thread
 * may be unloading one just now, its memory may be unmapped: process_vm_readv reads that without a
 * fault. Where it is forbidden and such objects are there, nothing counts as the program's.
 *
 * Rejected: to pin the last object, one load in every case; a program that unloads it to load its
 * new version would get the old one. Left over: the same file name, loaded again at the same
 * addresses, with its dynamic section and its record in the same place, but other code. Nor is code
 * that a program generates known: TEXT_NONE. Where there are other namespaces (dlmopen), whose
 * objects are in no list, nothing counts as the program's; glibc tells of them from 2.35 on.
 */
#include "base/text.h"

#include "base/elf.h"
#include "base/lock_functions.h"
#include "base/macros.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#if UINTPTR_MAX > UINT32_MAX
#define RELOCATION_SYMBOL(info) ELF64_R_SYM(info)
#else
#define RELOCATION_SYMBOL(info) ELF32_R_SYM(info)
#endif

/* Bounds of sections, by the linker. No gyre_text: this is the shared library. (With names of our
 * own and __asm__ for theirs gcc forgets that they are hidden, and finds another object's.) */
#define BOUND extern const char __attribute__((weak, visibility("hidden")))
BOUND __start_gyre_text[], __stop_gyre_text[], __start_gyre_entry[], __stop_gyre_entry[];

/* Of the C++ run-time, if there is one. */
extern void *__cxa_get_globals(void) __attribute__((weak));

/* Beginnings of the names (DT_SONAME) of what belongs to the system: their locks are their own
 * affair, and they can't be allowed. */
static const char *const system_names[] = {
    "ld-linux",      "ld64.so.",           "ld-musl",
    "libc.so.",      "libc.musl",          "linux-vdso",
    "libm.so.",      "libmvec.so.",        "libpthread.so",
    "libdl.so.",     "librt.so.",          "libutil.so.",
    "libresolv.so.", "libanl.so.",         "libnss_",
    "libgcc_s.so.",  "libstdc++.so",       "libc++.so.",
    "libc++abi.so",  "libunwind.so.",      "liburing.so.",
    "libgyre.so",    "libgyre-preempt.so",
};

/* --- the objects ----------------------------------------------------------------------------- */

struct object {
    uintptr_t base;
    bool own;     /* gyre is in it */
    bool program; /* it may be interrupted: the main program, or allowed */
    bool counts;  /* it is libgyre-preempt, which never calls the program */
    size_t at;    /* in bytes: headers; the program's are followed by notes, and the name */
    size_t header_count, notes_size, name_size;
};

/* A link_map's first fields, which are the same as long as the same object is loaded. */
struct link_head {
    ElfW(Addr) address;
    const char *name;
    const void *dynamic;
    const void *next;
};

struct watched {
    const struct link_map *map;
    struct link_head was;
};

_Static_assert(offsetof(struct link_map, l_next) == offsetof(struct link_head, next), "link_map");

struct snapshot {
    /* Capacities; what did not fit is counted all the same. */
    size_t object_room, byte_room, watched_room;
    size_t object_count, byte_count, watched_count;
    struct object *objects;
    char *bytes;
    struct watched *watched;
    const struct link_map *fixed; /* the last that is never unloaded */
    const struct link_map *next;  /* behind it, at that time */
    const struct r_debug *debug;
    uint32_t allowed;
    bool static_libc, uses_locks, cpp;
};

struct allowed {
    struct allowed *next;
    uintptr_t base, dynamic;
};

static _Atomic(struct allowed *) allowed_first;
static _Atomic(uint32_t) allowed_count;

/* What the object's dynamic section says, as far as it matters here. */
struct dynamic {
    const char *strings;
    const ElfW(Sym) * symbols;
    const char *soname;
    const struct r_debug *debug;
    struct {
        const ElfW(Rela) * first;
        size_t size;
    } relocations[2];
    bool other_relocations;
};

static const ElfW(Phdr) * find_header(const struct dl_phdr_info *info, ElfW(Word) type)
{
    for (size_t i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == type)
            return &info->dlpi_phdr[i];
    return NULL;
}

static bool is_loaded(const struct dl_phdr_info *info, uintptr_t address)
{
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];

        if (header->p_type == PT_LOAD &&
            address - (info->dlpi_addr + header->p_vaddr) < header->p_memsz)
            return true;
    }
    return false;
}

/* Some dynamic linkers add the load address in place, others, and for the vdso all, don't. */
static const void *pointer(const struct dl_phdr_info *info, ElfW(Addr) value)
{
    if (!is_loaded(info, value))
        value += info->dlpi_addr;
    return is_loaded(info, value) ? (const void *)value : NULL;
}

static uintptr_t dynamic_address(const struct dl_phdr_info *info)
{
    const ElfW(Phdr) *header = find_header(info, PT_DYNAMIC);

    return header ? info->dlpi_addr + header->p_vaddr : 0;
}

static struct dynamic read_dynamic(const struct dl_phdr_info *info)
{
    const ElfW(Dyn) *entry = (const ElfW(Dyn) *)dynamic_address(info);
    struct dynamic found = {0};
    bool named = false;
    ElfW(Xword) soname = 0;

    for (; entry && entry->d_tag != DT_NULL; entry++)
        switch (entry->d_tag) {
        case DT_STRTAB:
            found.strings = pointer(info, entry->d_un.d_ptr);
            break;
        case DT_SYMTAB:
            found.symbols = pointer(info, entry->d_un.d_ptr);
            break;
        case DT_SONAME:
            soname = entry->d_un.d_val;
            named = true;
            break;
        case DT_DEBUG:
            found.debug = (const struct r_debug *)entry->d_un.d_ptr;
            break;
        case DT_RELA:
            found.relocations[0].first = pointer(info, entry->d_un.d_ptr);
            break;
        case DT_RELASZ:
            found.relocations[0].size = entry->d_un.d_val;
            break;
        case DT_JMPREL:
            found.relocations[1].first = pointer(info, entry->d_un.d_ptr);
            break;
        case DT_PLTRELSZ:
            found.relocations[1].size = entry->d_un.d_val;
            break;
        case DT_REL:
            found.other_relocations = true;
            break;
        }
    if (named && found.strings)
        found.soname = found.strings + soname;
    return found;
}

static bool is_system(const struct dl_phdr_info *info, const struct dynamic *dynamic)
{
    const char *name = dynamic->soname;

    if (!name) {
        name = strrchr(info->dlpi_name, '/');
        name = name ? name + 1 : info->dlpi_name;
    }
    for (size_t i = 0; i < ARRAY_SIZE(system_names); i++)
        if (!strncmp(name, system_names[i], strlen(system_names[i])))
            return true;
    return false;
}

static bool is_lock_function(const char *name)
{
#define IS_NAME(function)                                                                          \
    if (!strcmp(name, #function))                                                                  \
        return true;
    if (*name != 'p' && *name != 'm' && *name != 'f' && *name != '_')
        return false;
    LOCK_FUNCTIONS(IS_NAME)
    LOCK_FUNCTION_ALIASES(IS_NAME)
    return false;
}

/* What it calls it has a relocation for. (How many symbols there are is not told: the hash table
 * may leave out those of other objects.) */
static bool calls_lock_function(const struct dynamic *dynamic)
{
    if (dynamic->other_relocations)
        return true;
    if (!dynamic->strings || !dynamic->symbols)
        return false;
    for (size_t table = 0; table < ARRAY_SIZE(dynamic->relocations); table++) {
        const ElfW(Rela) *at = dynamic->relocations[table].first;
        size_t count = at ? dynamic->relocations[table].size / sizeof *at : 0;

        for (; count; at++, count--) {
            size_t index = RELOCATION_SYMBOL(at->r_info);
            const ElfW(Sym) *symbol = &dynamic->symbols[index];

            if (index && symbol->st_shndx == SHN_UNDEF &&
                is_lock_function(dynamic->strings + symbol->st_name))
                return true;
        }
    }
    return false;
}

static bool is_allowed(const struct dl_phdr_info *info)
{
    /* Acquire: pairs with the release in gyre_text_allow. */
    const struct allowed *at = atomic_load_explicit(&allowed_first, memory_order_acquire);

    while (at && (at->base != info->dlpi_addr || at->dynamic != dynamic_address(info)))
        at = at->next;
    return at;
}

static bool is_own(const struct dl_phdr_info *info)
{
    return is_loaded(info, (uintptr_t)gyre_text_map_make);
}

static void put(struct snapshot *snapshot, const void *bytes, size_t size)
{
    if (size <= snapshot->byte_room && snapshot->byte_count <= snapshot->byte_room - size)
        memcpy(snapshot->bytes + snapshot->byte_count, bytes, size);
    snapshot->byte_count += size;
}

static void align(struct snapshot *snapshot)
{
    size_t alignment = _Alignof(max_align_t);

    snapshot->byte_count = (snapshot->byte_count + alignment - 1) / alignment * alignment;
}

/* The list's part behind the last object that is never unloaded: see the top. */
static void watch_links(struct snapshot *snapshot, const struct r_debug *debug)
{
    const ElfW(Addr) linker = getauxval(AT_BASE);
    const struct link_map *at = debug ? debug->r_map : NULL;

    snapshot->debug = debug;
    snapshot->fixed = at;
    for (; at; at = at->l_next)
        if (linker && at->l_addr == linker)
            snapshot->fixed = at;
    at = snapshot->fixed ? snapshot->fixed->l_next : NULL;
    snapshot->next = at;
    for (; at; at = at->l_next) {
        if (snapshot->watched_count < snapshot->watched_room) {
            struct watched *watched = &snapshot->watched[snapshot->watched_count];

            watched->map = at;
            memcpy(&watched->was, at, sizeof watched->was);
        }
        snapshot->watched_count++;
    }
}

static void put_object(struct snapshot *snapshot, struct object *object,
                       const struct dl_phdr_info *info)
{
    object->header_count = info->dlpi_phnum;
    object->at = snapshot->byte_count;
    put(snapshot, info->dlpi_phdr, info->dlpi_phnum * sizeof *info->dlpi_phdr);
    if (object->program) {
        for (size_t i = 0; i < info->dlpi_phnum; i++) {
            const ElfW(Phdr) *header = &info->dlpi_phdr[i];
            uintptr_t notes = info->dlpi_addr + header->p_vaddr;
            size_t size = elf_note_size(header);

            if (size && is_loaded(info, notes) && is_loaded(info, notes + size - 1)) {
                put(snapshot, (const void *)notes, size);
                object->notes_size += size;
            }
        }
        object->name_size = strlen(info->dlpi_name) + 1;
        put(snapshot, info->dlpi_name, object->name_size);
    }
    align(snapshot);
}

static int add_object(struct dl_phdr_info *info, size_t size, void *argument)
{
    struct snapshot *snapshot = argument;
    struct object object = {.base = info->dlpi_addr, .own = is_own(info)};
    struct dynamic dynamic = read_dynamic(info);

    (void)size;
    if (!snapshot->object_count) { /* the main program comes first */
        snapshot->static_libc = !find_header(info, PT_INTERP);
        watch_links(snapshot, dynamic.debug);
        object.program = true;
    } else {
        object.program = is_allowed(info);
    }
    if (!is_system(info, &dynamic) && calls_lock_function(&dynamic))
        snapshot->uses_locks = true;
    if (dynamic.soname &&
        (!strncmp(dynamic.soname, "libstdc++.", 10) || !strncmp(dynamic.soname, "libc++abi.", 10)))
        snapshot->cpp = true;
    object.counts = dynamic.soname && !strncmp(dynamic.soname, "libgyre-preempt.", 16);
    put_object(snapshot, &object, info);
    if (snapshot->object_count < snapshot->object_room)
        snapshot->objects[snapshot->object_count] = object;
    snapshot->object_count++;
    return 0;
}

static void free_snapshot(struct snapshot *snapshot)
{
    free(snapshot->objects);
    free(snapshot->bytes);
    free(snapshot->watched);
}

static int take_snapshot(struct snapshot *snapshot)
{
    struct snapshot next = {.object_room = 32, .byte_room = 32 << 10, .watched_room = 16};

    for (;;) {
        next.objects = malloc(next.object_room * sizeof *next.objects);
        next.bytes = malloc(next.byte_room);
        next.watched = malloc(next.watched_room * sizeof *next.watched);
        if (!next.objects || !next.bytes || !next.watched) {
            free_snapshot(&next);
            return -ENOMEM;
        }
        /* Acquire: pairs with the release in gyre_text_allow; before the list is looked at. */
        next.allowed = atomic_load_explicit(&allowed_count, memory_order_acquire);
        dl_iterate_phdr(add_object, &next);
        *snapshot = next;
        if (next.object_count <= next.object_room && next.byte_count <= next.byte_room &&
            next.watched_count <= next.watched_room)
            return 0;
        free_snapshot(&next);
        next = (struct snapshot){.object_room = next.object_count + 8,
                                 .byte_room = next.byte_count + 8192,
                                 .watched_room = next.watched_count + 8};
    }
}

/* --- the ranges ------------------------------------------------------------------------------ */

struct painter {
    struct text_range *ranges;
    size_t count, room;
    uintptr_t base; /* of the object whose sections are painted */
    int error;
};

static void append(struct painter *painter, uintptr_t low, uintptr_t high, enum text_kind kind)
{
    if (painter->count == painter->room) {
        size_t room = painter->room ? 2 * painter->room : 64;
        struct text_range *ranges = realloc(painter->ranges, room * sizeof *ranges);

        if (!ranges) {
            painter->error = -ENOMEM;
            return;
        }
        painter->ranges = ranges;
        painter->room = room;
    }
    painter->ranges[painter->count++] = (struct text_range){low, high, kind};
}

/* Over what was painted there before. */
static void paint(struct painter *painter, uintptr_t low, uintptr_t high, enum text_kind kind)
{
    size_t count = painter->count;

    if (low >= high)
        return;
    for (size_t i = 0; i < count; i++) {
        const struct text_range range = painter->ranges[i];

        if (range.high <= low || range.low >= high)
            continue;
        painter->ranges[i].high = range.low < low ? low : range.low;
        if (range.high > high)
            append(painter, high, range.high, range.kind);
    }
    append(painter, low, high, kind);
}

static void paint_section(void *argument, const struct elf_section *section)
{
    struct painter *painter = argument;
    uintptr_t low = painter->base + section->address;

    if (!strncmp(section->name, ".plt", 4) || !strcmp(section->name, ".iplt"))
        paint(painter, low, low + section->size, TEXT_LIBRARY);
    else if (!strncmp(section->name, "gyre_no_preempt", sizeof "gyre_no_preempt" - 1))
        paint(painter, low, low + section->size, TEXT_GUARDED);
}

static void paint_segments(struct painter *painter, const struct object *object,
                           const ElfW(Phdr) * headers, enum text_kind kind)
{
    for (size_t i = 0; i < object->header_count; i++)
        if (headers[i].p_type == PT_LOAD && headers[i].p_flags & PF_X) {
            uintptr_t low = object->base + headers[i].p_vaddr;

            paint(painter, low, low + headers[i].p_memsz, kind);
        }
}

static int paint_sections(struct painter *painter, const struct object *object,
                          const struct elf_loaded *loaded, const char *name)
{
    int error, fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return -errno;
    painter->base = object->base;
    error = gyre_elf_code_sections(fd, loaded, paint_section, painter);
    close(fd);
    return error;
}

static bool has_gyre_text(void)
{
    uintptr_t here = (uintptr_t)gyre_text_map_make;

    return here >= (uintptr_t)__start_gyre_text && here < (uintptr_t)__stop_gyre_text;
}

static void paint_object(struct painter *painter, const struct snapshot *snapshot,
                         const struct object *object)
{
    const char *bytes = snapshot->bytes + object->at;
    const ElfW(Phdr) *headers = (const void *)bytes;
    const char *notes = bytes + object->header_count * sizeof *headers;
    const struct elf_loaded loaded = {headers, object->header_count, notes, object->notes_size};
    bool main_program = object == snapshot->objects;
    const char *name = main_program ? "/proc/self/exe" : notes + object->notes_size;

    if (object->own && !has_gyre_text()) {
        paint_segments(painter, object, headers, main_program ? TEXT_LIBRARY : TEXT_RUNTIME);
    } else if (object->program) {
        paint_segments(painter, object, headers, TEXT_PROGRAM);
        if (paint_sections(painter, object, &loaded, name))
            paint_segments(painter, object, headers, TEXT_LIBRARY);
    } else {
        paint_segments(painter, object, headers, object->counts ? TEXT_ENTRY : TEXT_LIBRARY);
    }
    if (object->own) {
        paint(painter, (uintptr_t)__start_gyre_text, (uintptr_t)__stop_gyre_text, TEXT_RUNTIME);
        paint(painter, (uintptr_t)__start_gyre_entry, (uintptr_t)__stop_gyre_entry, TEXT_ENTRY);
    }
}

static int compare_ranges(const void *a, const void *b)
{
    const struct text_range *left = a, *right = b;

    return left->low < right->low ? -1 : left->low > right->low;
}

/* Sorts, leaves out what is empty, joins neighbours of one kind. */
static void tidy(struct painter *painter)
{
    struct text_range *ranges = painter->ranges;
    size_t kept = 0;

    if (!painter->count)
        return;
    qsort(ranges, painter->count, sizeof *ranges, compare_ranges);
    for (size_t i = 0; i < painter->count; i++) {
        if (ranges[i].low == ranges[i].high)
            continue;
        if (kept && ranges[kept - 1].high == ranges[i].low &&
            ranges[kept - 1].kind == ranges[i].kind)
            ranges[kept - 1].high = ranges[i].high;
        else
            ranges[kept++] = ranges[i];
    }
    painter->count = kept;
}

/* --- the map --------------------------------------------------------------------------------- */

struct whole_map {
    struct text_map map;
    const struct link_map *fixed, *next;
    const struct r_debug *debug;
    bool namespaces; /* there are others, by dlmopen */
    uint32_t allowed;
    size_t watched_count; /* 0 where they can't be watched */
    struct watched *watched;
};

/* Whether dlmopen was ever called, as far as the dynamic linker tells. */
static bool has_namespaces(const struct r_debug *debug)
{
#if __GLIBC_PREREQ(2, 35)
    return debug && __atomic_load_n(&debug->r_version, __ATOMIC_RELAXED) > 1 &&
           __atomic_load_n(&((const struct r_debug_extended *)debug)->r_next, __ATOMIC_RELAXED);
#else
    (void)debug;
    return false;
#endif
}

/* Whether all objects loaded at run time are what they were. */
static bool same_links(const struct watched *watched, size_t count)
{
    enum { BATCH = 32 };
    struct link_head heads[BATCH];
    struct iovec from[BATCH], to = {.iov_base = heads};

    while (count) {
        size_t part = count < BATCH ? count : BATCH;

        to.iov_len = part * sizeof *heads;
        for (size_t i = 0; i < part; i++)
            from[i] = (struct iovec){(void *)watched[i].map, sizeof *heads};
        if (process_vm_readv(getpid(), &to, 1, from, part, 0) != (ssize_t)to.iov_len)
            return false;
        for (size_t i = 0; i < part; i++)
            if (memcmp(&heads[i], &watched[i].was, sizeof *heads))
                return false;
        watched += part;
        count -= part;
    }
    return true;
}

static bool can_watch(void)
{
    char there = 1, here = 0;
    struct iovec from = {&there, 1}, to = {&here, 1};

    return process_vm_readv(getpid(), &to, 1, &from, 1, 0) == 1 && here;
}

static int paint_all(struct painter *painter, const struct snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->object_count; i++)
        paint_object(painter, snapshot, &snapshot->objects[i]);
    if (painter->error) {
        free(painter->ranges);
        return painter->error;
    }
    tidy(painter);
    return 0;
}

static bool is_programs(const struct text_map *map, uintptr_t function)
{
    enum text_kind kind = text_kind_at(map, function);

    return kind == TEXT_PROGRAM || kind == TEXT_GUARDED;
}

/*
 * Addresses, as the dynamic linker has bound them, and not dlsym: that waits for a lock which a
 * dlopen holds while it runs constructors. The weak reference makes a program that has libstdc++
 * inside export that function.
 */
static void state_facts(struct text_map *map)
{
    const uintptr_t allocators[] = {(uintptr_t)malloc, (uintptr_t)calloc, (uintptr_t)realloc,
                                    (uintptr_t)free};

    for (size_t i = 0; i < ARRAY_SIZE(allocators) && !map->static_libc; i++)
        map->own_malloc |= is_programs(map, allocators[i]);
    map->own_cpp = __cxa_get_globals && is_programs(map, (uintptr_t)__cxa_get_globals);
    map->no_program = true;
    for (size_t i = 0; i < map->count && map->no_program; i++)
        map->no_program = map->ranges[i].kind != TEXT_PROGRAM;
}

int gyre_text_map_make(struct text_map **map)
{
    struct whole_map *made = calloc(1, sizeof *made);
    struct painter painter = {0};
    struct snapshot snapshot;
    int error;

    error = made ? take_snapshot(&snapshot) : -ENOMEM;
    if (error)
        goto no_snapshot;
    /* The objects of other namespaces are in no list: whose code calls the program's can't be told.
     */
    made->namespaces = has_namespaces(snapshot.debug);
    if (made->namespaces || (snapshot.watched_count && !can_watch())) {
        snapshot.watched_count = 0;
        for (size_t i = 0; i < snapshot.object_count; i++)
            snapshot.objects[i].program = false;
    }
    error = paint_all(&painter, &snapshot);
    if (error)
        goto no_ranges;
    made->map.ranges = painter.ranges;
    made->map.count = painter.count;
    if (painter.count) {
        made->map.low = painter.ranges[0].low;
        made->map.high = painter.ranges[painter.count - 1].high;
    }
    made->map.static_libc = snapshot.static_libc;
    made->map.uses_locks = snapshot.uses_locks;
    made->map.late_cpp = snapshot.cpp && snapshot.allowed;
    made->fixed = snapshot.fixed;
    made->debug = snapshot.debug;
    made->next = snapshot.next;
    made->allowed = snapshot.allowed;
    made->watched = snapshot.watched;
    made->watched_count = snapshot.watched_count;
    snapshot.watched = NULL;
    free_snapshot(&snapshot);
    state_facts(&made->map);
    *map = &made->map;
    return 0;

no_ranges:
    free_snapshot(&snapshot);
no_snapshot:
    free(made);
    return error;
}

void gyre_text_map_free(struct text_map *map)
{
    while (map) {
        struct whole_map *whole = container_of(map, struct whole_map, map);

        map = map->older;
        free((void *)whole->map.ranges);
        free(whole->watched);
        free(whole);
    }
}

bool gyre_text_map_stale(const struct text_map *map)
{
    const struct whole_map *whole = container_of(map, const struct whole_map, map);

    /* Relaxed: what the interrupted thread has loaded or allowed it sees; of what others do it
     * learns when they have told it. */
    if (atomic_load_explicit(&allowed_count, memory_order_relaxed) != whole->allowed)
        return true;
    if (!whole->fixed)
        return false; /* all static */
    return has_namespaces(whole->debug) != whole->namespaces ||
           __atomic_load_n(&whole->fixed->l_next, __ATOMIC_RELAXED) != whole->next ||
           !same_links(whole->watched, whole->watched_count);
}

/* --- allowed --------------------------------------------------------------------------------- */

struct asked {
    uintptr_t address;
    struct allowed *entry;
    bool is_first, added, known;
};

static int look_at_object(struct dl_phdr_info *info, size_t size, void *argument)
{
    struct asked *asked = argument;
    bool main_program = !asked->is_first;
    struct dynamic dynamic = read_dynamic(info);

    (void)size;
    asked->is_first = true;
    if (!is_loaded(info, asked->address))
        return 0;
    asked->known = main_program || is_allowed(info);
    if (asked->known || is_system(info, &dynamic) || (is_own(info) && !has_gyre_text()))
        return 1;
    asked->entry->base = info->dlpi_addr;
    asked->entry->dynamic = dynamic_address(info);
    asked->entry->next = atomic_load_explicit(&allowed_first, memory_order_relaxed);
    /* The linker's lock is held. Release: pairs with the acquires in is_allowed, take_snapshot. */
    atomic_store_explicit(&allowed_first, asked->entry, memory_order_release);
    atomic_fetch_add_explicit(&allowed_count, 1, memory_order_release);
    asked->added = true;
    return 1;
}

/* An object is known by its place: another one must not come there. */
static void keep_loaded(const void *address)
{
    /* By name: linkers warn of it in static programs, which have no libraries. */
    void *(*open)(const char *, int) = (void *(*)(const char *, int))dlsym(RTLD_DEFAULT, "dlopen");
    struct link_map *map;
    Dl_info info;

    if (open && dladdr1(address, &info, (void **)&map, RTLD_DL_LINKMAP) && map && *map->l_name)
        open(map->l_name, RTLD_NOLOAD | RTLD_LAZY | RTLD_NODELETE);
}

int gyre_text_allow(const void *address)
{
    struct asked asked = {.address = (uintptr_t)address, .entry = malloc(sizeof *asked.entry)};

    if (!asked.entry)
        return -ENOMEM;
    dl_iterate_phdr(look_at_object, &asked);
    if (asked.added)
        keep_loaded(address);
    else
        free(asked.entry);
    return asked.added || asked.known ? 0 : -EINVAL;
}
