// A static variable whose initialiser calls back, and throws when that says so.
extern "C" int plugin_initialise(int (*callback)(int), int fail);

namespace
{

struct value {
    value(int (*callback)(int), int fail)
    {
        if (callback(fail))
            throw fail;
    }
};

} // namespace

extern "C" __attribute__((visibility("default"))) int plugin_initialise(int (*callback)(int),
                                                                        int fail)
{
    try {
        static value once(callback, fail);
        return 0;
    } catch (int) {
        return -1;
    }
}
