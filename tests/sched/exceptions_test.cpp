/*
 * C++ exceptions under the scheduler: a coroutine parks inside a catch block and during unwinding,
 * continues on another worker, throws again; many do so at once.
 */
extern "C" {
#include "../coro/child.h"
}

#include <criterion/criterion.h>

#include <atomic>
#include <csignal>
#include <exception>
#include <stdexcept>
#include <string>

#include <gyre.h>

namespace
{

std::atomic<int> failed, migrated;

void expect(bool condition, int line)
{
    if (!condition) {
        fprintf(stderr, "line %d: not so\n", line);
        failed++;
    }
}

#define EXPECT(condition) expect(condition, __LINE__)

/* Parks so that another worker may take it up. */
void move_on()
{
    unsigned before = gyre_worker_index();

    for (int i = 0; i < 5; i++)
        gyre_yield();
    gyre_sleep(1000);
    migrated += gyre_worker_index() != before;
}

struct parks_when_destroyed {
    int uncaught = std::uncaught_exceptions();

    ~parks_when_destroyed()
    {
        int now = std::uncaught_exceptions();

        move_on();
        EXPECT(std::uncaught_exceptions() == now);
    }
};

void throw_nested(const std::string &what, int depth)
{
    parks_when_destroyed object;

    if (depth)
        throw_nested(what, depth - 1);
    move_on();
    throw std::runtime_error(what);
}

int throw_and_catch(void *arg)
{
    std::string what = "of coroutine " + std::to_string(gyre_coro_id());

    (void)arg;
    for (int round = 0; round < 20; round++) {
        try {
            try {
                throw_nested(what, round % 4);
            } catch (const std::runtime_error &e) {
                move_on();
                EXPECT(e.what() == what);
                EXPECT(std::current_exception() != nullptr);
                try {
                    throw round;
                } catch (int number) {
                    move_on();
                    EXPECT(number == round);
                }
                EXPECT(e.what() == what);
                throw;
            }
        } catch (const std::exception &e) {
            std::exception_ptr pointer = std::current_exception();

            move_on();
            EXPECT(e.what() == what);
            try {
                std::rethrow_exception(pointer);
            } catch (const std::runtime_error &again) {
                move_on();
                EXPECT(again.what() == what);
            }
        }
        EXPECT(std::uncaught_exceptions() == 0);
        EXPECT(std::current_exception() == nullptr);
    }
    return 0;
}

int throw_many(void *)
{
    gyre_handle handles[40];

    for (auto &handle : handles)
        EXPECT(gyre_spawn(&handle, throw_and_catch, nullptr) == 0);
    for (auto &handle : handles)
        EXPECT(gyre_join(handle, nullptr) == 0);
    EXPECT(std::current_exception() == nullptr);
    return 0;
}

/* Ends inside a catch block of its own making: what it caught is not the next one's. */
int scope_is_left_by_throw(void *)
{
    for (int i = 0; i < 100; i++) {
        try {
            GYRE_TIMEOUT(GYRE_HOUR);
            GYRE_CANCELLABLE();
            move_on();
            throw i;
        } catch (int) {
            EXPECT(gyre_context_deadline() == INT64_MAX);
        }
    }
    return 0;
}

int leave_by_exception(void *)
{
    throw std::runtime_error("nobody catches this");
}

int start_leaver(void *)
{
    gyre_handle handle;

    gyre_spawn_at("pool.cpp:5\0leaver", &handle, leave_by_exception, nullptr, nullptr);
    return gyre_join(handle, nullptr);
}

void run_leaver()
{
    gyre_run(start_leaver, nullptr);
}

int run_with(unsigned workers, gyre_fn fn)
{
    gyre_options options = GYRE_OPTIONS_INIT;

    options.workers = workers;
    return gyre_run_options(fn, nullptr, &options);
}

} // namespace

Test(exceptions, stay_with_their_coroutine)
{
    for (unsigned workers : {1u, 2u, 5u}) {
        migrated = 0;
        cr_assert(run_with(workers, throw_many) == 0);
        cr_assert(failed == 0);
        cr_assert(workers == 1 || migrated > 0, "nobody moved");
    }
}

Test(exceptions, leave_scopes)
{
    for (unsigned workers : {1u, 2u, 5u})
        cr_assert(run_with(workers, scope_is_left_by_throw) == 0);
    cr_assert(failed == 0);
}

Test(exceptions, that_leave_the_entry_end_with_a_line)
{
    static struct child child;
    static const char wanted[] = "gyre: panic: an exception left the coroutine's entry function\n"
                                 "  coroutine 2 \"leaver\", started at pool.cpp:5\n    ";

    child_run(&child, run_leaver);
    cr_assert(child.status == -SIGABRT);
    cr_assert(strncmp(child.output, wanted, strlen(wanted)) == 0, "%s", child.output);
}
