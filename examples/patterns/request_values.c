/*
 * Request-scoped values: what belongs to a request, such as its id for the logs, travels in
 * its context through every call and every coroutine that works for it, and no function in
 * between has a parameter for it.
 *
 *     type key struct{}
 *     ctx = context.WithValue(ctx, key{}, id)
 *     id, _ := ctx.Value(key{}).(string)
 *
 * A key is the address of an object, so no other module can have the same one. Its drop
 * function is called when the last one who can see the value is gone.
 */
#include <gyre.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct gyre_context_key request_id = {free};

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    const char *id = gyre_context_value(&request_id);
    char line[128];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    printf("[%s] %s\n", id ? id : "-", line);
}

static int look_up(void *arg)
{
    say("looking up %s", (const char *)arg);
    return 0;
}

static int answer(const char *user)
{
    int error;

    GYRE_GROUP(calls);
    gyre_group_go(&calls, look_up, (void *)user); /* inherits the context, values and all */
    error = gyre_group_wait(&calls);
    say("answered");
    return error;
}

static int handle(const char *id, const char *user)
{
    GYRE_CONTEXT_VALUE(&request_id, strdup(id)); /* up to the end of the block */

    return answer(user);
}

static int start(void *arg)
{
    int error;

    (void)arg;
    if ((error = handle("a7", "ada")) || (error = handle("b3", "grace")))
        return error;
    say("no request here");
    return 0;
}

int main(void)
{
    return gyre_run(start, NULL) < 0;
}
