/* gyre.h - all of gyre. */
#ifndef GYRE_H
#define GYRE_H

#include <gyre/base.h>
#include <gyre/chan.h>
#include <gyre/context.h>
#include <gyre/coro.h>
#include <gyre/group.h>
#include <gyre/io.h>
#include <gyre/net.h>
#include <gyre/pool.h>
#include <gyre/preempt.h>
#include <gyre/run.h>
#include <gyre/select.h>
#include <gyre/sync.h>
#include <gyre/test.h>
#include <gyre/time.h>

#endif
