// The same in C++: macros, structures and function pointers must be usable from there.
#include <gyre.h>

#include <cstdio>
#include <stdexcept>

namespace
{

int child(void *arg)
{
    int *number = static_cast<int *>(arg);
    GYRE_TIMEOUT(GYRE_SECOND);

    try {
        if (gyre_sleep(GYRE_MILLISECOND) == 0)
            throw std::runtime_error("awake");
    } catch (const std::runtime_error &) {
        *number += gyre_yield() == 0;
    }
    return *number;
}

int start(void *)
{
    int number = 41, result = 0;
    gyre_handle handle;

    if (int error = gyre_spawn(&handle, child, &number))
        return error;
    if (int error = gyre_join(handle, &result))
        return error;
    return result;
}

} // namespace

int main()
{
    gyre_options options = GYRE_OPTIONS_INIT;

    options.workers = 2;
    int result = gyre_run_options(start, nullptr, &options);
    std::printf("gyre %s: %d\n", gyre_version(), result);
    if (result == -1 || result == -38) // EPERM, ENOSYS
        return 77;
    return result == 42 ? 0 : 1;
}
