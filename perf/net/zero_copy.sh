#!/bin/sh
# zero_copy.sh PROGRAM [MiB]: runs perf/net/zero_copy on a network of its own, as root: a pair of virtual
# devices whose far end is the only port of a bridge, which drops what it gets without a copy.
set -e
if [ -z "$ZERO_COPY_INSIDE" ]; then
    ZERO_COPY_INSIDE=1 exec unshare --net "$0" "$@"
fi
ip link add near type veth peer name far
ip link add switch type bridge
ip link set far mtu 65000 master switch up
ip link set switch up
ip link set near mtu 65000 up
ip address add 192.0.2.1/24 dev near
ip neighbour add 192.0.2.2 lladdr 02:00:00:00:00:02 dev near
exec "$1" 192.0.2.2 ${2:+"$2"}
