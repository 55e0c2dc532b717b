/* Reading resolv.conf(5), nsswitch.conf(5), hosts(5) and their variables. */
#ifndef GYRE_LIB_NET_CONFIGURATION_H
#define GYRE_LIB_NET_CONFIGURATION_H

#include "net/resolver.h"

/* All block, on a helper thread. Returns 0 or -ENOMEM; missing files mean the defaults. Freed by
 * gyre_configuration_free. */
int gyre_configuration_read(struct configuration **read);
void gyre_configuration_free(struct configuration *configuration);

/* Whether another would be read now. */
bool gyre_configuration_stale(const struct configuration *configuration);

/* The file whose servers count. */
const char *gyre_configuration_servers(const struct configuration *configuration);

#endif
