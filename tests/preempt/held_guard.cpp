// Who initialises a function's static variable is not interrupted, for who came there meanwhile, on
// the same worker, would wait for ever; and is again afterwards, also when the initialiser threw.
extern "C" {
#include "held.h"
}

namespace
{

struct slow {
    explicit slow(bool fail)
    {
        compute_holding("an initialiser");
        if (fail)
            throw 1;
    }
};

void initialise(bool fail)
{
    static slow once(fail);
}

int test(void *)
{
    gyre_handle handle;

    if (!is_asynchronous())
        return 77;
    CHECK(!gyre_spawn(&handle, other, nullptr), "spawn");
    for (int i = 0; i < 2; i++) {
        bool thrown = false;

        try {
            initialise(true);
        } catch (int) {
            thrown = true;
        }
        CHECK(thrown, "thrown");
        compute_until_interrupted();
    }
    for (int i = 0; i < 2; i++) {
        initialise(false);
        compute_until_interrupted();
    }
    __atomic_store_n(&other_ends, 1, __ATOMIC_RELAXED);
    CHECK(!gyre_join(handle, nullptr), "join");
    return 0;
}

} // namespace

int main()
{
    return run_held(test, nullptr);
}
