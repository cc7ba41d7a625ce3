/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NAT_BRIDGE_PROBE_H
#define NAT_BRIDGE_PROBE_H
#include <sys/types.h>
#include "nat-bridge/netlink.h"
struct nb_probe_place;
int nb_probe_join(struct nb_netlink *nl, const char *bridge, struct nb_probe_place **ret,
		  struct nb_error *err);
int nb_probe_enter(pid_t pid, struct nb_probe_place **ret, struct nb_error *err);
void nb_probe_leave(struct nb_probe_place *place);
enum nb_probe_result {
	NB_PROBE_CONNECTED,
	NB_PROBE_REFUSED,
	NB_PROBE_TIMED_OUT,
	NB_PROBE_UNREACHABLE,
	NB_PROBE_SENT,
	NB_PROBE_ANSWERED,
	NB_PROBE_FAILED
};
struct nb_probe {
	uint8_t protocol;
	uint32_t address;
	uint16_t port;
	uint16_t source_port;
	enum nb_probe_result result;
	int number;
};
int nb_probe_run(struct nb_probe_place *place, struct nb_probe *probes, size_t count,
		 int timeout_ms, struct nb_error *err);
#endif
