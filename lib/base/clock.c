/* The word alone: clock.h says who moves it. */
#include "base/clock.h"

_Atomic(int64_t) gyre_clock_virtual;
