/* The words alone: run.c sets the first two before it starts any thread. */
#include "base/checks.h"

#ifdef GYRE_CHECKS_DEFAULT
bool gyre_checks = true;
#else
bool gyre_checks;
#endif

unsigned gyre_checks_run;
size_t (*gyre_checks_channels)(void);
