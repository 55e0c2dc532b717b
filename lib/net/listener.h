/* What a listener of another kind adds to net/listener.c. */
#ifndef GYRE_LIB_NET_LISTENER_H
#define GYRE_LIB_NET_LISTENER_H

struct gyre_listener;
struct unix_path;

/* Whose close removes path (may be NULL) before it closes the socket. */
void gyre_listener_owns(struct gyre_listener *listener, struct unix_path *path);

/* Another process has its socket as well: its close leaves the path. */
void gyre_listener_passed(struct gyre_listener *listener);

#endif
