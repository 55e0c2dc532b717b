// libgyre-preempt and C++: the initialisation of a function's static variable is a lock; and what
// the standard library's mutexes are made of is counted.
#include "hooks.h"

#include <cxxabi.h>

#include <chrono>
#include <cstdint>
#include <mutex>
#include <shared_mutex>
#include <thread>

namespace
{

long held_in_initialiser;

struct noisy {
    explicit noisy(bool fail)
    {
        held_in_initialiser = held;
        if (fail)
            throw 1;
    }
};

void initialise(bool fail)
{
    static noisy once(fail);
}

void initialise_outer()
{
    static int once = (initialise(false), held_in_initialiser);
    (void)once;
}

template <int> void initialise_nested()
{
    static bool once = (initialise_outer(), held == 1);
    CHECK(once);
}

void test_initialiser_that_throws()
{
    for (int i = 0; i < 3; i++) {
        bool thrown = false;

        held_in_initialiser = 0;
        try {
            initialise(true);
        } catch (int) {
            thrown = true;
        }
        CHECK(thrown);
        CHECK(held_in_initialiser == 1);
        CHECK(held == 0);
    }
}

void test_initialiser()
{
    HELD(initialise_nested<1>(), 0);
    CHECK(held_in_initialiser == 3);
    held_in_initialiser = 0;
    HELD(initialise(false), 0);
    CHECK(held_in_initialiser == 0); // was done
}

// All but one wait, and find it done: none of these may count.
void test_initialiser_that_others_wait_for()
{
    static std::atomic<int> arrived, inside, wrong;
    auto enter = [] {
        arrived++;
        static int once = [] {
            wrong += held != 1;
            inside++;
            while (arrived < 4)
                std::this_thread::yield();
            return 1;
        }();
        wrong += held != 0 || once != 1;
    };
    std::thread threads[4];

    for (std::thread &thread : threads)
        thread = std::thread(enter);
    for (std::thread &thread : threads)
        thread.join();
    CHECK(inside == 1);
    CHECK(wrong == 0);
}

// The compiler's own calls, on many variables: each is initialised once, though some try in vain
// before; who comes too late sees what the initialiser wrote.
void test_guards()
{
    enum { VARIABLES = 3000, THREADS = 4 };
    static std::uint64_t guards[VARIABLES];
    static int values[VARIABLES];
    std::atomic<int> arrived{0}, initialised{0}, failed{0}, wrong{0};
    std::thread threads[THREADS];
    auto play = [&] {
        arrived++;
        while (arrived < THREADS)
            std::this_thread::yield();
        for (int i = 0; i < VARIABLES; i++) {
            auto *guard = reinterpret_cast<__cxxabiv1::__guard *>(&guards[i]);

            while (abi::__cxa_guard_acquire(guard)) {
                wrong += held != 1;
                if (values[i]++ < i % 3) { // throws
                    failed++;
                    std::this_thread::yield();
                    abi::__cxa_guard_abort(guard);
                    continue;
                }
                initialised++;
                abi::__cxa_guard_release(guard);
            }
            wrong += held != 0 || values[i] != i % 3 + 1;
        }
    };

    for (std::thread &thread : threads)
        thread = std::thread(play);
    for (std::thread &thread : threads)
        thread.join();
    CHECK(initialised == VARIABLES && failed == VARIABLES && wrong == 0);
}

void test_standard_mutexes()
{
    using std::chrono::nanoseconds;
    std::recursive_timed_mutex timed;
    std::shared_timed_mutex shared;
    std::mutex mutex;

    HELD(mutex.lock(), 1);
    HELD(timed.lock(), 2);
    HELD(CHECK(timed.try_lock_for(nanoseconds(1))), 3);
    HELD(shared.lock_shared(), 4);
    HELD(CHECK(!shared.try_lock()), 4);
    HELD(CHECK(!shared.try_lock_for(nanoseconds(1))), 4);
    HELD(shared.unlock_shared(), 3);
    HELD(timed.unlock(), 2);
    HELD(timed.unlock(), 1);
    HELD(mutex.unlock(), 0);
}

} // namespace

int main()
{
    set_hooks(count_acquired, count_released);
    test_initialiser_that_throws();
    test_initialiser();
    test_initialiser_that_others_wait_for();
    test_guards();
    test_standard_mutexes();
    return 0;
}
