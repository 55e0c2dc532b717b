/*
 * Libraries come and go while others compute: dlopen, dlsym and dlclose of private copies of a
 * library, so that each is really loaded and unloaded, and at addresses where another one was.
 * Nothing is interrupted while the dynamic linker is at work: in a constructor or destructor that
 * calls the program, or in a dl_iterate_phdr function. Nor in the library itself, or in a function
 * of the program that it called, though no unwinder gets through it; until gyre_preempt_allow names
 * it.
 */
#include "storm.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

typedef uint64_t compute_fn(uint64_t x, unsigned rounds);
typedef int call_fn(int (*fn)(void *arg), void *arg);
typedef uint64_t stay_fn(_Atomic(const char *) *inside, uint64_t x, unsigned rounds);

struct plugin {
    void *library;
    compute_fn *compute;
    call_fn *call;
    stay_fn *stay;
};

enum { LONG = 400000 }; /* rounds of plugin_compute: a few quanta */

static _Atomic(unsigned long) constructed, destroyed, loaded, interrupted_allowed;

/* Counts on its thread: whoever sees it move was interrupted. */
static _Thread_local _Atomic(unsigned long) witness;

static __attribute__((noinline)) _Atomic(unsigned long) *my_witness(void)
{
    return &witness;
}

static uint64_t compute_here(uint64_t x, unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++)
        x = (x ^ (x >> 29)) * 0xbf58476d1ce4e5b9u + i;
    return x;
}

void storm_plugin_constructed(void);
void storm_plugin_destroyed(void);

static void work_inside(const char *what)
{
    struct random random = {constructed};

    storm_enter(what);
    for (int i = 0; i < 10; i++)
        storm_work(&random);
    storm_leave();
}

__attribute__((visibility("default"))) void storm_plugin_constructed(void)
{
    work_inside("a constructor");
    constructed++;
}

__attribute__((visibility("default"))) void storm_plugin_destroyed(void)
{
    work_inside("a destructor");
    destroyed++;
}

/* A copy, for the linker takes the same file for the same library. */
static void copy_plugin(char *path)
{
    int in = open(STORM_PLUGIN, O_RDONLY | O_CLOEXEC), out;
    struct stat status;

    strcpy(path, "/tmp/gyre-storm-XXXXXX");
    out = mkostemp(path, O_CLOEXEC);
    STORM_CHECK(in >= 0 && out >= 0 && fstat(in, &status) == 0, "no " STORM_PLUGIN);
    while (status.st_size > 0) {
        ssize_t n = sendfile(out, in, NULL, (size_t)status.st_size);

        STORM_CHECK(n > 0, "not copied: %s", strerror(errno));
        status.st_size -= n;
    }
    close(in);
    close(out);
}

static struct plugin load(const char *path)
{
    struct plugin plugin = {.library = dlopen(path, RTLD_NOW | RTLD_LOCAL)};

    STORM_CHECK(plugin.library, "%s", dlerror());
    *(void **)&plugin.compute = dlsym(plugin.library, "plugin_compute");
    *(void **)&plugin.call = dlsym(plugin.library, "plugin_call");
    *(void **)&plugin.stay = dlsym(plugin.library, "plugin_stay");
    STORM_CHECK(plugin.compute && plugin.call && plugin.stay, "%s", dlerror());
    loaded++;
    return plugin;
}

static int called(void *arg)
{
    struct storm_player *player = arg;

    storm_enter("a function that a library called");
    for (int i = 0; i < 10; i++)
        storm_work(&player->random);
    storm_leave();
    return 7;
}

static void check_sum(compute_fn *compute, struct random *random, unsigned rounds)
{
    uint64_t x = random_next(random), sum = compute(x, rounds);

    STORM_CHECK(sum == compute_here(x, rounds), "the library computed %#llx",
                (unsigned long long)sum);
}

/* Not allowed, so nobody else runs on this thread meanwhile. A function of its own: the address may
 * not be kept over a park. */
static __attribute__((noinline)) void stay_inside(stay_fn *stay, struct random *random)
{
    uint64_t x = random_next(random), sum = stay(&storm_inside, x, LONG);

    STORM_CHECK(sum == compute_here(x, LONG), "the library computed otherwise");
}

static int load_and_unload(struct storm_player *player)
{
    char path[64];

    copy_plugin(path);
    while (!storm_over()) {
        struct plugin plugin = load(path);

        check_sum(plugin.compute, &player->random, random_below(&player->random, 5000));
        if (random_below(&player->random, 4) == 0)
            STORM_CHECK(plugin.call(called, player) == 7, "the call");
        storm_compute(&player->random);
        if (random_below(&player->random, 8) == 0)
            stay_inside(plugin.stay, &player->random);
        STORM_CHECK(!dlclose(plugin.library), "%s", dlerror());
        for (unsigned i = random_below(&player->random, 200); i; i--)
            storm_compute(&player->random);
        player->rounds++;
    }
    unlink(path);
    return 0;
}

/* The same library stays, is allowed, and is interrupted. */
static int compute_in_allowed(struct storm_player *player)
{
    struct plugin plugin;
    char path[64];

    copy_plugin(path);
    plugin = load(path);
    unlink(path);
    STORM_CHECK(!gyre_preempt_allow(*(void **)&plugin.compute), "not allowed");
    while (!storm_over()) {
        unsigned long before = *my_witness();

        check_sum(plugin.compute, &player->random, LONG);
        if (*my_witness() != before)
            interrupted_allowed++;
        player->rounds++;
    }
    return 0;
}

static int bear_witness(struct storm_player *player)
{
    while (!storm_over()) {
        atomic_fetch_add(my_witness(), 1);
        storm_compute(&player->random);
        player->rounds++;
    }
    return 0;
}

static int each_object(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct storm_player *player = arg;

    (void)info;
    (void)size;
    storm_enter("a dl_iterate_phdr function");
    storm_work(&player->random);
    storm_leave();
    return 0;
}

static int iterate(struct storm_player *player)
{
    while (!storm_over()) {
        Dl_info info;

        dl_iterate_phdr(each_object, player);
        STORM_CHECK(dladdr((const void *)stdout, &info) != 0, "dladdr");
        storm_compute(&player->random);
        player->rounds++;
    }
    return 0;
}

static void begin(void)
{
    interrupted_allowed = 0;
}

static void all_ran(void)
{
    STORM_CHECK(constructed == loaded, "%lu constructors of %lu", constructed, loaded);
}

static const char *missing(const struct gyre_preempt_counts *counts)
{
    /* Of several workers it may have one without a witness. */
    if (!interrupted_allowed && gyre_worker_count() == 1)
        return "never interrupted in the allowed library";
    if (!counts->refused[GYRE_REFUSED_LIBRARY])
        return "no tick in a library";
    return counts->refused[GYRE_REFUSED_CALLER] ? NULL : "no tick in a function called by one";
}

int main(int argc, char **argv)
{
    static const struct storm_part parts[] = {{"loads", load_and_unload, 3},
                                              {"allowed", compute_in_allowed, 1},
                                              {"witness", bear_witness, 2},
                                              {"iterate", iterate, 1}};

    storm_settings.before = begin;
    storm_settings.finish = all_ran;
    storm_settings.missing = missing;
    return storm(argc, argv, parts, ARRAY_SIZE(parts));
}
