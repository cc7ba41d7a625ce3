/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether systemd stands behind an engine's socket. A connection to a socket that systemd
 * listens on for a service starts that service: an engine that somebody has stopped would come
 * back because it was asked for its networks. So it is asked only if it runs.
 */
#ifndef NAT_BRIDGE_SYSTEMD_H
#define NAT_BRIDGE_SYSTEMD_H

#include "nat-bridge/engine.h"

enum nb_service {
	NB_SERVICE_ANSWERS,  /* it runs, or nothing starts when its socket is connected to */
	NB_SERVICE_STARTING, /* it does not answer yet */
	NB_SERVICE_STOPPED,  /* or stopping: a connection would start it (again) */
};

/*
 * The service that answers at @socket for @engine. Only the places where the packages of
 * Docker and Podman have their sockets are systemd's. Connects to none of them.
 */
enum nb_service nb_systemd_service(enum nb_engine engine, const char *socket);

#endif
