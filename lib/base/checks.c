/* The switch alone: run.c sets it before it starts any thread. */
#include "base/checks.h"

#ifdef GYRE_CHECKS_DEFAULT
bool gyre_checks = true;
#else
bool gyre_checks;
#endif
