/*
 * The C++ library while everybody is interrupted: algorithms and containers, which are the
 * program's code and allocate; streams, which have locks and buffers; mutexes, once flags and
 * function-local statics, whose holders must not be interrupted, or whoever waits for them on the
 * same thread waits for ever. Built with libgyre-preempt, which counts what is held, and without
 * it.
 */
#include "storm_cpp.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cxxabi.h>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <shared_mutex>
#include <sstream>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace
{

void sorts(uint64_t *rounds)
{
    std::mt19937_64 random(*rounds + 1);

    for (; !cpp_over(); ++*rounds) {
        std::vector<uint64_t> numbers(4000);
        uint64_t sum = 0, comparisons = 0;

        for (auto &n : numbers)
            sum += n = random();
        std::sort(numbers.begin(), numbers.end(), [&comparisons](uint64_t a, uint64_t b) {
            comparisons++;
            return a < b;
        });
        CPP_CHECK(std::is_sorted(numbers.begin(), numbers.end()) && comparisons > numbers.size());
        CPP_CHECK(std::accumulate(numbers.begin(), numbers.end(), uint64_t{0}) == sum);
    }
}

void maps(uint64_t *rounds)
{
    std::mt19937_64 random(*rounds + 2);

    for (; !cpp_over(); ++*rounds) {
        std::map<std::string, uint64_t> ordered;
        std::unordered_map<uint64_t, std::string> hashed;
        std::vector<std::shared_ptr<std::string>> shared;

        for (uint64_t i = 0; i < 300; i++) {
            uint64_t key = random() % 1000;
            std::string text = "a key that is not short " + std::to_string(key);

            ordered[text] = key;
            hashed[key] = text;
            shared.push_back(std::make_shared<std::string>(text));
        }
        CPP_CHECK(ordered.size() == hashed.size());
        for (const auto &[text, key] : ordered)
            CPP_CHECK(hashed[key] == text);
        for (const auto &text : shared)
            CPP_CHECK(ordered.count(*text) == 1);
    }
}

void streams(uint64_t *rounds)
{
    static std::ofstream null("/dev/null");

    for (; !cpp_over(); ++*rounds) {
        std::ostringstream out;
        uint64_t n = 0;
        double d = 0;
        std::string word;

        for (int i = 0; i < 20; i++)
            out << *rounds << ' ' << 0.5 * i << " word" << i << '\n';
        std::istringstream in(out.str());
        for (int i = 0; i < 20; i++) {
            in >> n >> d >> word;
            CPP_CHECK(n == *rounds && d == 0.5 * i && word == "word" + std::to_string(i));
        }
        std::cout << "";
        std::clog << std::flush;
    }
}

/* The holder computes for quanta; the waiters stand on the same threads. */
void locks(uint64_t *rounds)
{
    static std::mutex mutex;
    static std::recursive_mutex recursive;
    static std::shared_mutex shared;
    static std::timed_mutex timed;
    static uint64_t counts[4], copies[4];

    for (; !cpp_over(); ++*rounds) {
        {
            std::lock_guard<std::mutex> lock(mutex);
            counts[0]++;
            cpp_compute(30);
            copies[0]++;
            CPP_CHECK(counts[0] == copies[0]);
        }
        {
            std::unique_lock<std::recursive_mutex> lock(recursive), again(recursive);
            counts[1]++;
            cpp_compute(30);
            copies[1]++;
            CPP_CHECK(counts[1] == copies[1]);
        }
        if (*rounds % 3 == 0) {
            std::unique_lock<std::shared_mutex> lock(shared);
            counts[2]++;
            cpp_compute(30);
            copies[2]++;
        } else {
            std::shared_lock<std::shared_mutex> lock(shared);
            cpp_compute(30);
            CPP_CHECK(counts[2] == copies[2]);
        }
        if (timed.try_lock_for(std::chrono::seconds(30))) {
            std::lock_guard<std::timed_mutex> lock(timed, std::adopt_lock);
            counts[3]++;
            cpp_compute(30);
            copies[3]++;
            CPP_CHECK(counts[3] == copies[3]);
        }
        cpp_compute(30);
    }
}

uint64_t slowly(uint64_t n)
{
    cpp_compute(60);
    return n;
}

/* Each instance has a static of its own, which somebody else wants while it is made. */
template <uint64_t number> uint64_t made_once()
{
    static const uint64_t value = slowly(number);

    return value;
}

template <uint64_t number> uint64_t failed_once()
{
    static std::atomic<int> tries{0};
    static const uint64_t value = [] {
        cpp_compute(40);
        if (tries++ < 2)
            throw static_cast<int>(number);
        return number;
    }();

    return value;
}

template <uint64_t... numbers> void make_all(std::integer_sequence<uint64_t, numbers...>)
{
    static constexpr uint64_t (*made[])() = {made_once<numbers>...};
    static constexpr uint64_t (*failed[])() = {failed_once<numbers>...};

    for (uint64_t i = 0; i < sizeof...(numbers) && !cpp_over(); i++) {
        CPP_CHECK(made[i]() == i);
        for (;;) {
            try {
                CPP_CHECK(failed[i]() == i);
                break;
            } catch (int number) {
                CPP_CHECK(static_cast<uint64_t>(number) == i);
            }
        }
    }
}

/* Then, what a compiler calls for one, for as long as there are any left. */
void statics(uint64_t *rounds)
{
    static __cxxabiv1::__guard guards[20000];
    static uint64_t made[20000];

    make_all(std::make_integer_sequence<uint64_t, 50>());
    for (uint64_t i = 0; !cpp_over(); ++*rounds, i = (i + 1) % 20000) {
        if (__cxxabiv1::__cxa_guard_acquire(&guards[i])) {
            made[i] += slowly(1);
            if (made[i] < 2)
                __cxxabiv1::__cxa_guard_abort(&guards[i]);
            else
                __cxxabiv1::__cxa_guard_release(&guards[i]);
        } else {
            CPP_CHECK(made[i] == 2);
        }
    }
}

/* Flags enough for the whole time; every one is asked for by all. */
void once(uint64_t *rounds)
{
    static std::once_flag flags[5000];
    static uint64_t called[5000];

    for (uint64_t i = 0; !cpp_over(); ++*rounds, i = (i + 1) % 5000) {
        std::call_once(flags[i], [i] {
            cpp_compute(30);
            called[i]++;
        });
        CPP_CHECK(called[i] == 1);
    }
}

/* Threads beside the workers, which wait for conditions and lock what coroutines lock. */
void threads(uint64_t *rounds)
{
    for (; !cpp_over(); ++*rounds) {
        std::mutex mutex;
        std::condition_variable condition;
        int stage = 0;
        std::thread thread([&] {
            std::unique_lock<std::mutex> lock(mutex);

            while (stage != 1)
                condition.wait(lock);
            cpp_compute(20);
            stage = 2;
            condition.notify_one();
        });
        {
            std::unique_lock<std::mutex> lock(mutex);

            cpp_compute(20);
            stage = 1;
            condition.notify_one();
            while (stage != 2)
                condition.wait(lock);
        }
        thread.join();
        CPP_CHECK(stage == 2);
        cpp_compute(100);
    }
}

} // namespace

const struct cpp_part cpp_parts[] = {
    {"sort", sorts, 2},      {"containers", maps, 2}, {"streams", streams, 2}, {"locks", locks, 4},
    {"statics", statics, 4}, {"once", once, 4},       {"threads", threads, 2},
};
const size_t cpp_part_count = sizeof cpp_parts / sizeof *cpp_parts;
