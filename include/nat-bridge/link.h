/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Network devices: what they are, and the two values that we keep on them.
 *
 * route_localnet and our tag are set and read through rtnetlink (IFLA_AF_SPEC
 * / AF_INET / IFLA_INET_CONF), so that a read-only /proc/sys does not matter.
 */
#ifndef NAT_BRIDGE_LINK_H
#define NAT_BRIDGE_LINK_H

#include "nat-bridge/mapping.h"
#include "nat-bridge/netlink.h"

/* The tag: our mark in the upper half, the previous route_localnet in the lower. */
#define NB_TAG_MAGIC	UINT32_C(0x6e620000) /* "nb" */
#define NB_TAG_MASK	UINT32_C(0xffff0000)
#define NB_TAG_PREVIOUS UINT32_C(0x0000ffff)

/* Our filter at the device's ingress (see ingress.h). */
struct nb_ingress {
	uint32_t priority; /* 0: there is none */
	uint32_t handle;
	bool current;	/* this version made it, for the mark that is configured */
	bool own_qdisc; /* the qdisc is ours, too; it may be there without the filter */
	bool preceded;	/* somebody else's filter is asked first */
};

struct nb_link {
	int index;
	int master;		 /* ifindex, 0 = none */
	unsigned short hardware; /* ARPHRD_* */
	bool loopback;
	bool up;
	char name[NB_IFNAME_SIZE];
	char kind[16]; /* "bridge", "veth", "tun", ... or "" for hardware */
	uint32_t route_localnet;
	uint32_t tag;
	bool clsact;	  /* it has that qdisc; read, with the next one, by ingress.h */
	uint32_t dropped; /* packets that filters at that qdisc have dropped */
	struct nb_ingress ingress;
};

struct nb_link_list {
	struct nb_link *items; /* sorted by name */
	size_t count;
};

bool nb_link_is_tagged(const struct nb_link *link);
const struct nb_link *nb_link_find(const struct nb_link_list *list, const char *name);

/*
 * May @link carry a mapping? A bridge whose ports are all veth or tap
 * devices, or such a device itself that is no port. If not, returns false and words the
 * reason in @why ("bond0 is a bond, which ..."). The default route is not looked at here.
 */
bool nb_link_is_private(const struct nb_link_list *list, const struct nb_link *link, char *why,
			size_t why_size);

/*
 * Begin a request about devices: @type is RTM_GETLINK, RTM_NEWLINK, RTM_SETLINK or RTM_DELLINK,
 * @flags those beside NLM_F_REQUEST, @index which device, 0 = none or all. Attributes may be put
 * behind it; an answer has no counters. @buffer is zeroed, and has room for all of that.
 */
struct nlmsghdr *nb_link_request(void *buffer, uint16_t type, uint16_t flags, int index);
/* Hand each device of the network namespace, a message RTM_NEWLINK, to @callback: nb_netlink_ask(). */
int nb_link_each(struct nb_netlink *nl, int (*callback)(const struct nlmsghdr *message, void *data),
		 void *data, struct nb_netlink_ack *ack);
/* All devices of the network namespace. */
int nb_link_dump(struct nb_netlink *nl, struct nb_link_list *ret, struct nb_error *err);
void nb_link_list_clear(struct nb_link_list *list);

/* One device, from a message RTM_NEWLINK. */
void nb_link_parse(const struct nlmsghdr *message, struct nb_link *ret);
/* A number that changes with whatever such a message says of the device that matters here. */
uint64_t nb_link_digest(const struct nb_link *link);

/* What was done to devices: what a run did, or what was heard of. */
#define NB_DEVICE_CHANGES 64
struct nb_device_changes {
	uint32_t port; /* netlink's, of who changed qdiscs or filters; 0: nobody did */
	size_t count;
	struct {
		int ifindex;
		uint64_t digest; /* of the device as it is then */
	} links[NB_DEVICE_CHANGES];
};

/* @link is now so. False: there is no room. */
bool nb_device_changes_put(struct nb_device_changes *changes, const struct nb_link *link);
/* Is all that was @heard what a run says that it did? */
bool nb_device_changes_cover(const struct nb_device_changes *changes,
			     const struct nb_device_changes *heard);

/*
 * Set route_localnet and, with @set_tag, the tag of @ifindex in one message.
 * Returns 0 or a negative errno (-ENODEV: the device is gone) with @ack filled.
 */
int nb_link_set(struct nb_netlink *nl, int ifindex, uint32_t route_localnet, bool set_tag,
		uint32_t tag, struct nb_netlink_ack *ack);

#endif
