/* SPDX-License-Identifier: GPL-2.0-or-later */
/* IPv4 connection tracking entries: dump and delete, by nfnetlink. */
#ifndef NAT_BRIDGE_NETLINK_CONNTRACK_H
#define NAT_BRIDGE_NETLINK_CONNTRACK_H

#include "nat-bridge/netlink.h"

/* Host byte order. */
struct nb_tuple {
	uint32_t source;
	uint32_t destination;
	uint16_t source_port;
	uint16_t destination_port;
};

enum nb_conntrack_zone {
	NB_ZONE_NONE,
	NB_ZONE_BOTH,	  /* of both directions */
	NB_ZONE_ORIGINAL, /* of the original direction alone */
};

struct nb_conntrack {
	struct nb_tuple original;
	struct nb_tuple reply;
	uint32_t status; /* IPS_* */
	uint32_t id;	 /* as the kernel gave it: opaque */
	uint16_t zone;
	uint8_t zone_scope; /* enum nb_conntrack_zone */
	uint8_t protocol;
	uint8_t tcp_state; /* TCP_CONNTRACK_*, 0 if there is none */
	bool has_id;
};

struct nb_conntrack_list {
	struct nb_conntrack *items;
	size_t count;
	size_t capacity;
};

/*
 * Collect the IPv4 entries of TCP and UDP with (status & @mask) == @status
 * that @wanted accepts. @ret must be empty and is untouched on failure; free
 * it with nb_conntrack_list_clear(). 0, or -errno with @err filled.
 */
int nb_conntrack_dump(struct nb_netlink *nl, uint32_t status, uint32_t mask,
		      bool (*wanted)(const struct nb_conntrack *entry, const void *data),
		      const void *data, struct nb_conntrack_list *ret, struct nb_error *err);
void nb_conntrack_list_clear(struct nb_conntrack_list *list);

/*
 * Delete exactly @entry: its tuple, zone and id.
 * Returns 0, -ENOENT (gone already, or another one by now), or another -errno with @ack filled.
 */
int nb_conntrack_delete(struct nb_netlink *nl, const struct nb_conntrack *entry,
			struct nb_netlink_ack *ack);

#endif
