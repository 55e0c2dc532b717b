/*
 * Hello: start a coroutine and wait for it. gyre_run brings the runtime up around the first one,
 * as a Go program's does before main; when that one returns, the program is over.
 *
 *     done := make(chan struct{})
 *     go func() { fmt.Println("hello from a goroutine"); close(done) }()
 *     <-done
 *     fmt.Println("and from main")
 */
#include <gyre.h>

#include <stdio.h>

static int greet(void *arg)
{
    printf("hello from a coroutine, %s\n", (const char *)arg);
    return 0;
}

static int start(void *arg)
{
    gyre_handle handle;
    int error = gyre_spawn(&handle, greet, arg);

    if (!error)
        error = gyre_join(handle, NULL);
    if (!error)
        printf("and from main\n");
    return error;
}

int main(void)
{
    return gyre_run(start, "gopher") < 0;
}
