/* gyre.h - all of gyre. */
#ifndef GYRE_H
#define GYRE_H

#include <gyre/base.h>
#include <gyre/blocking.h>
#include <gyre/chan.h>
#include <gyre/context.h>
#include <gyre/coro.h>
#include <gyre/datagram.h>
#include <gyre/directory.h>
#include <gyre/embed.h>
#include <gyre/feed.h>
#include <gyre/file.h>
#include <gyre/group.h>
#include <gyre/io.h>
#include <gyre/net.h>
#include <gyre/poll.h>
#include <gyre/pool.h>
#include <gyre/preempt.h>
#include <gyre/process.h>
#include <gyre/resolve.h>
#include <gyre/run.h>
#include <gyre/select.h>
#include <gyre/service.h>
#include <gyre/signal.h>
#include <gyre/stream.h>
#include <gyre/sync.h>
#include <gyre/test.h>
#include <gyre/time.h>
#include <gyre/unix.h>

#endif
