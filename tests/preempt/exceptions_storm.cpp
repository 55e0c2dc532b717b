/*
 * C++ exceptions while everybody is interrupted: in destructors that run because of one, in catch
 * blocks, between a throw and its rethrow; where some of them park as well. Which exceptions are
 * caught and in flight is a thread's state; each coroutine must find its own after others threw
 * theirs on its thread.
 */
#include "storm_cpp.h"

#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace
{

struct numbered : std::runtime_error {
    explicit numbered(uint64_t n) : std::runtime_error("number " + std::to_string(n)), number(n)
    {
    }
    uint64_t number;
};

/* Computes while an exception is in flight, and throws one of its own that it catches. */
struct computes_when_destroyed {
    computes_when_destroyed(uint64_t *counter, int expected) : steps(counter), in_flight(expected)
    {
    }
    ~computes_when_destroyed()
    {
        CPP_CHECK(std::uncaught_exceptions() == in_flight);
        cpp_compute(10);
        CPP_CHECK(std::uncaught_exceptions() == in_flight);
        cpp_park(*steps);
        CPP_CHECK(std::uncaught_exceptions() == in_flight);
        try {
            throw numbered(*steps);
        } catch (const numbered &e) {
            CPP_CHECK(std::uncaught_exceptions() == in_flight);
            cpp_compute(10);
            CPP_CHECK(e.number == *steps);
        }
        CPP_CHECK(std::uncaught_exceptions() == in_flight);
        ++*steps;
    }
    uint64_t *steps;
    int in_flight;
};

__attribute__((noinline)) void go_down(int depth, uint64_t number, uint64_t *steps)
{
    computes_when_destroyed here(steps, 1);

    if (depth == 0)
        throw numbered(number);
    go_down(depth - 1, number, steps);
}

void unwinds(uint64_t *rounds)
{
    for (; !cpp_over(); ++*rounds) {
        uint64_t steps = 0;

        try {
            go_down(6, *rounds, &steps);
            CPP_CHECK(false);
        } catch (const numbered &e) {
            CPP_CHECK(steps == 7 && e.number == *rounds);
            CPP_CHECK(e.what() == "number " + std::to_string(*rounds));
        }
        CPP_CHECK(std::uncaught_exceptions() == 0 && !std::current_exception());
    }
}

/* Many caught at once, each computed in, each rethrown. */
__attribute__((noinline)) void nest(int depth, uint64_t number)
{
    try {
        throw numbered(number + static_cast<uint64_t>(depth));
    } catch (const numbered &e) {
        cpp_compute(5);
        CPP_CHECK(e.number == number + static_cast<uint64_t>(depth));
        if (depth > 0) {
            try {
                nest(depth - 1, number);
                CPP_CHECK(false);
            } catch (const numbered &inner) {
                cpp_compute(5);
                cpp_park(number + static_cast<uint64_t>(depth));
                CPP_CHECK(inner.number == number + static_cast<uint64_t>(depth) - 1);
            }
        }
        CPP_CHECK(std::uncaught_exceptions() == 0);
        cpp_compute(5);
        throw;
    }
}

void nests(uint64_t *rounds)
{
    for (; !cpp_over(); ++*rounds) {
        try {
            nest(5, *rounds * 100);
            CPP_CHECK(false);
        } catch (const std::exception &e) {
            CPP_CHECK(e.what() == "number " + std::to_string(*rounds * 100 + 5));
        }
        CPP_CHECK(!std::current_exception());
    }
}

/* Kept, and thrown again much later, from elsewhere. */
void keeps(uint64_t *rounds)
{
    for (; !cpp_over(); ++*rounds) {
        std::vector<std::exception_ptr> kept;

        for (uint64_t i = 0; i < 5; i++) {
            try {
                throw std::make_unique<numbered>(*rounds + i);
            } catch (...) {
                cpp_compute(5);
                kept.push_back(std::current_exception());
            }
        }
        cpp_compute(20);
        for (uint64_t i = 0; i < kept.size(); i++) {
            try {
                std::rethrow_exception(kept[i]);
            } catch (const std::unique_ptr<numbered> &e) {
                cpp_compute(5);
                CPP_CHECK(e->number == *rounds + i);
            }
        }
    }
}

/* A cheap one, often: the throw itself is interrupted where it is the program's. */
void throws_often(uint64_t *rounds)
{
    for (; !cpp_over(); ++*rounds)
        for (int i = 0; i < 50; i++) {
            try {
                throw i;
            } catch (int caught) {
                CPP_CHECK(caught == i && std::uncaught_exceptions() == 0);
            }
        }
}

} // namespace

const struct cpp_part cpp_parts[] = {
    {"unwinding", unwinds, 4},
    {"nested", nests, 4},
    {"kept", keeps, 3},
    {"often", throws_often, 3},
};
const size_t cpp_part_count = sizeof cpp_parts / sizeof *cpp_parts;
