/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of src/probe know of a place. */
#ifndef NAT_BRIDGE_PROBE_PLACE_H
#define NAT_BRIDGE_PROBE_PLACE_H

#include <net/if.h>

#include "nat-bridge/probe.h"
#include "nat-bridge/route.h"

#define NB_MAC_SIZE 6

struct nb_probe_place {
	struct nb_netlink *nl; /* of the host */
	int namespace;
	/* of one that we made; all 0 if it was entered */
	char name[IF_NAMESIZE];		     /* of the host's end */
	int ifindex;			     /* of the host's end */
	int device;			     /* ifindex of ours */
	unsigned char mac[NB_MAC_SIZE];	     /* ours */
	unsigned char host_mac[NB_MAC_SIZE]; /* of what answers for the gateway */
	uint32_t address, gateway;	     /* host byte order */
	size_t ports_used;		     /* by raw frames */
};

/*
 * Do @work(@data) in the place's network namespace; returns what it returns, or -errno. It runs in
 * a thread, which alone changes its namespace: the caller's never does. A child process would have
 * to hand back sockets and results, and be reaped by a program that is perhaps not ours.
 */
int nb_place_do(const struct nb_probe_place *place, int (*work)(void *data), void *data);

/* A device and what we ask of it. */
struct nb_place_device {
	int index;
	int mtu;
	bool up;
	unsigned char mac[NB_MAC_SIZE];
};

/* Those of src/probe/device.c give -errno without wording it. */
int nb_device_find(struct nb_netlink *nl, const char *name, struct nb_place_device *ret);
/*
 * Make a veth: @name here, as a port of @master (0: of none), its peer "eth0" in @namespace. The peer
 * is made there, so that there is no moment at which it would have to be moved, or could stay.
 */
int nb_device_make(struct nb_netlink *nl, const char *name, int master, int mtu, int namespace);
int nb_device_set_up(struct nb_netlink *nl, int index, bool up);
int nb_device_delete(struct nb_netlink *nl, int index);
int nb_device_add_address(struct nb_netlink *nl, int index, const struct nb_prefix *address);
int nb_device_add_gateway(struct nb_netlink *nl, int index, uint32_t gateway);
/* Does an address or a route of this namespace touch that network? 1, 0 or -errno. */
int nb_device_is_used(struct nb_netlink *nl, const struct nb_prefix *network);

/*
 * Wait until the gateway of @network (its address) answers by ARP, and choose an address of that
 * network for which nobody does. Fills mac, host_mac, gateway and address. In the place's namespace.
 */
int nb_place_find_address(struct nb_probe_place *place, const struct nb_prefix *network,
			  const uint32_t *avoid, size_t count, struct nb_error *err);
/*
 * Tell the host, through packet socket @fd, whose MAC our address is. Its own question would name
 * 127.0.0.1 as who asks if that is what answers, and find no answer.
 */
void nb_place_announce(const struct nb_probe_place *place, int fd);

#endif
