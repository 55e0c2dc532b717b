/*
 * C++ exceptions on coroutine stacks: thrown and caught inside, parked inside a catch block while
 * others throw, continued in another thread and rethrown there; and what leaves the entry.
 */
#include <criterion/criterion.h>

#include <pthread.h>

#include <cstdint>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>

#include "exceptions_c.h"

extern "C" {
#include "child.h"
}

namespace
{

int steps[8];
struct child result;

void throw_and_catch(long n)
{
    for (long i = 0; i < n; i++) {
        try {
            throw std::runtime_error("inside " + std::to_string(i));
        } catch (const std::exception &e) {
            steps[0] += e.what() == "inside " + std::to_string(i);
        }
        coroutine_leave();
    }
}

/* Parks inside a catch block; another does the same meanwhile. */
void park_in_catch(long id)
{
    try {
        throw id;
    } catch (long caught) {
        coroutine_leave();
        steps[id] = caught == id;
        try {
            try {
                throw;
            } catch (...) {
                coroutine_leave();
                std::rethrow_exception(std::current_exception());
            }
        } catch (long again) {
            steps[id] += again == id;
            coroutine_leave();
        }
    }
    steps[id] += std::uncaught_exceptions() == 0 && !std::current_exception();
}

struct parks_when_destroyed {
    ~parks_when_destroyed()
    {
        coroutine_leave();
        steps[6] = std::uncaught_exceptions();
    }
};

/* Parks while an exception is in flight. */
void park_in_unwinding(long)
{
    try {
        parks_when_destroyed object;

        throw 1;
    } catch (int) {
        steps[7] = std::uncaught_exceptions() == 0;
    }
}

void throw_out(long)
{
    throw std::runtime_error("nobody catches this");
}

void caught_on_the_way(long)
{
    struct cleanup {
        ~cleanup()
        {
            steps[5]++;
        }
    };

    try {
        cleanup c;

        throw 5;
    } catch (int n) {
        steps[4] = n;
    }
}

void leave_thread(long)
{
    pthread_exit(nullptr);
}

void entry_throws()
{
    coroutine_adopt();
    coroutine_start(0, throw_out, 0);
    coroutine_resume(0);
}

void entry_ends_the_thread()
{
    coroutine_adopt();
    coroutine_start(0, leave_thread, 0);
    coroutine_resume(0);
}

} // namespace

Test(exceptions, thrown_and_caught_inside)
{
    coroutine_adopt();
    coroutine_start(0, throw_and_catch, 5);
    for (int i = 0; i < 6; i++)
        coroutine_resume(0);
    cr_assert_eq(steps[0], 5);
}

Test(exceptions, destructors_run)
{
    coroutine_adopt();
    coroutine_start(0, caught_on_the_way, 0);
    coroutine_resume(0);
    cr_assert_eq(steps[4], 5);
    cr_assert_eq(steps[5], 1);
}

Test(exceptions, parked_in_catch_blocks_interleaved)
{
    coroutine_adopt();
    coroutine_start(1, park_in_catch, 1);
    coroutine_start(2, park_in_catch, 2);
    coroutine_start(3, park_in_catch, 3);
    for (int i = 0; i < 4; i++) {
        coroutine_resume(1);
        coroutine_resume(2);
        try {
            throw 99;
        } catch (int) {
            coroutine_resume(3);
        }
    }
    for (int id = 1; id <= 3; id++)
        cr_assert_eq(steps[id], 3, "%d: %d", id, steps[id]);
    cr_assert(!std::current_exception());
}

Test(exceptions, parked_in_catch_goes_on_in_another_thread)
{
    coroutine_adopt();
    coroutine_start(1, park_in_catch, 1);
    coroutine_start(2, park_in_catch, 2);
    for (int i = 0; i < 4; i++) {
        coroutine_resume(1);
        std::thread([] {
            coroutine_adopt();
            coroutine_resume(1 + 1);
        }).join();
        coroutine_adopt();
    }
    cr_assert_eq(steps[1], 3);
    cr_assert_eq(steps[2], 3);
}

Test(exceptions, parked_while_unwinding)
{
    coroutine_adopt();
    coroutine_start(6, park_in_unwinding, 0);
    coroutine_resume(6);
    cr_assert_eq(std::uncaught_exceptions(), 0);
    coroutine_resume(6);
    cr_assert_eq(steps[6], 1);
    cr_assert_eq(steps[7], 1);
}

Test(exceptions, leaving_the_entry_is_a_panic_that_says_so)
{
    child_run(&result, entry_throws);
    cr_assert_eq(result.status, -SIGABRT, "%d: %s", result.status, result.output);
    cr_assert(
        child_said(&result, "gyre: panic: an exception left the coroutine's entry function\n"),
        "%s", result.output);
    cr_assert(!child_said(&result, "terminate called"), "%s", result.output);
}

Test(exceptions, pthread_exit_inside_is_a_panic)
{
    child_run(&result, entry_ends_the_thread);
    cr_assert_eq(result.status, -SIGABRT, "%d: %s", result.status, result.output);
    cr_assert(child_said(&result, "gyre: panic: the thread was ended"), "%s", result.output);
}
