/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Questions to the kernel's routing tables, in the caller's network namespace.
 */
#ifndef NAT_BRIDGE_ROUTE_H
#define NAT_BRIDGE_ROUTE_H

#include "nat-bridge/netlink.h"

/* Where a packet of the host to some address would go. */
struct nb_route {
	int ifindex; /* 0: nowhere (no route, unreachable, blackhole, prohibited) */
	bool local;  /* an address of the host itself; ifindex is that of lo */
};

/*
 * Route the IPv4 @address (host byte order), policy rules included. That
 * there is no route is an answer, not a failure. 0, or -errno with @err filled.
 */
int nb_route_lookup(struct nb_netlink *nl, uint32_t address, struct nb_route *ret,
		    struct nb_error *err);

/* A packet of the host, as rules of policy routing look at it; host byte order. */
struct nb_route_flow {
	uint32_t source; /* 0: not chosen yet */
	uint32_t address;
	uint8_t protocol;     /* 0: of none */
	uint16_t source_port; /* 0: of none */
	uint32_t mark;
	bool has_uid; /* whose socket it is, if that is known */
	uint32_t uid;
};

/* The same for such a packet. */
int nb_route_lookup_flow(struct nb_netlink *nl, const struct nb_route_flow *flow,
			 struct nb_route *ret, struct nb_error *err);

/* The rules of policy routing, beside the kernel's own, that a packet of the host meets. */
struct nb_route_policies {
	size_t count;
	uint32_t first; /* priority of the first of them */
	char text[480]; /* about as `ip rule` has them: "201: from all prohibit, 220: ..." */
};

/*
 * Those that match @flow. What a rule looks at beside what that says makes it one that does not
 * match. 0, or -errno with @err filled.
 */
int nb_route_policies(struct nb_netlink *nl, const struct nb_route_flow *flow,
		      struct nb_route_policies *ret, struct nb_error *err);

/* A rule of policy routing that looks at the packet's mark. */
struct nb_route_mark {
	uint32_t value, mask; /* host byte order; a mask of all bits is none */
	char text[192]; /* about as `ip rule` has it: "100: from all fwmark 0x1/0x3 lookup 7" */
};

struct nb_route_mark_list {
	struct nb_route_mark *items;
	size_t count;
};

/*
 * Those of IPv4, in the order of their priorities. 0, or -errno with @err filled. @ret->items is
 * to be freed, also after a failure.
 */
int nb_route_marks(struct nb_netlink *nl, struct nb_route_mark_list *ret, struct nb_error *err);

/* A route of the main table. */
struct nb_route_entry {
	int ifindex; /* 0: none, as of a blackhole */
	unsigned int length;
	char text[96]; /* as `ip route del` takes it: "blackhole 172.30.0.0/25" */
};

/* The most specific route of the main table for @address. 1, 0: none, or -errno with @err. */
int nb_route_find(struct nb_netlink *nl, uint32_t address, struct nb_route_entry *ret,
		  struct nb_error *err);

/*
 * Does an IPv4 or IPv6 default route of any table lead through @ifindex, as
 * its only device or as one of several? A half of the address space (0.0.0.0/1,
 * as some tunnels write their default route) counts, too.
 * Returns 1, 0 (also for an unknown @ifindex), or -errno with @err filled.
 */
int nb_route_is_default(struct nb_netlink *nl, int ifindex, struct nb_error *err);

/* An address, in host byte order, and how much of it is the network's; 0 = not known. */
struct nb_prefix {
	uint32_t address;
	unsigned int length;
};

/* The only IPv4 network of a device; one that has several has a length of 0. */
int nb_route_network(struct nb_netlink *nl, int ifindex, struct nb_prefix *ret,
		     struct nb_error *err);

/* The first IPv4 address of a device with its network's length; address 0: it has none. */
int nb_route_address(struct nb_netlink *nl, int ifindex, struct nb_prefix *ret,
		     struct nb_error *err);

/* An IPv4 address of the host. */
struct nb_address {
	int ifindex;
	struct nb_prefix prefix;
};

struct nb_address_list {
	struct nb_address *items;
	size_t count;
};

/*
 * All of them, in the kernel's order: by device, the primary ones of each first. 0, or -errno with
 * @err filled. Free with nb_address_list_clear(), also after a failure.
 */
int nb_route_addresses(struct nb_netlink *nl, struct nb_address_list *ret, struct nb_error *err);
void nb_address_list_clear(struct nb_address_list *list);

/* The address of a device in whose network @near is; address 0: there is none. */
int nb_route_address_near(struct nb_netlink *nl, int ifindex, uint32_t near, struct nb_prefix *ret,
			  struct nb_error *err);
/* Any other host's address of the same network, whose length is 30 at most. */
uint32_t nb_route_neighbour(const struct nb_prefix *own);

/*
 * Would the host take a packet that comes in on @ifindex from a neighbour in that network?
 * 1 = yes; 0 = no, which is the reverse path filter's doing; or a negative errno.
 */
int nb_route_accepts(struct nb_netlink *nl, int ifindex, const struct nb_prefix *network,
		     struct nb_error *err);

#endif
