/* gyre.h - all of gyre. */
#ifndef GYRE_H
#define GYRE_H

#include <gyre/base.h>
#include <gyre/context.h>
#include <gyre/coro.h>
#include <gyre/io.h>
#include <gyre/net.h>
#include <gyre/run.h>

#endif
