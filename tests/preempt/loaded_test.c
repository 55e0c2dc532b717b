/*
 * What a program loads while coroutines run: an allowed library stays, and once there is another
 * namespace, whose objects nobody can know, nothing is interrupted any more.
 */
#include <gyre.h>

#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

static const char *mode(void)
{
    struct gyre_preempt_counts counts = {.size = sizeof counts};

    CHECK(!gyre_preempt_count(&counts));
    return counts.mode;
}

static int start(void *unused)
{
    void *plugin = dlopen(LOADED_PLUGIN, RTLD_NOW), *function;

    (void)unused;
    CHECK(plugin && (function = dlsym(plugin, "plugin_compute")));
    CHECK(gyre_preempt_allow(function) == 0);
    CHECK(gyre_preempt_allow(function) == 0);
    CHECK(gyre_preempt_allow((void *)(uintptr_t)1) == -EINVAL);
    CHECK(!dlclose(plugin));
    CHECK(dlopen(LOADED_PLUGIN, RTLD_NOW | RTLD_NOLOAD) == plugin);
    if (strcmp(mode(), "asynchronous"))
        return 77;
    CHECK(dlmopen(LM_ID_NEWLM, LOADED_PLUGIN, RTLD_NOW));
    while (strcmp(mode(), "asynchronous") == 0)
        CHECK(!gyre_sleep(GYRE_MILLISECOND));
    CHECK(strstr(mode(), "can't be followed"));
    return 0;
}

int main(void)
{
    alarm(60);
    return gyre_run(start, NULL);
}
