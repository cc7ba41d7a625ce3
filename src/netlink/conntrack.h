/* SPDX-License-Identifier: GPL-2.0-or-later */
/* IPv4 connection tracking entries: dump, ask, delete and hear of them, by nfnetlink. */
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

/* What is told of an entry besides. [0] is the original direction, [1] the reply's. */
struct nb_conntrack_detail {
	uint64_t packets[2];
	uint64_t bytes[2];
	int64_t began; /* nanoseconds since the epoch; 0: nf_conntrack_timestamp was off then */
	int64_t at;    /* of an event likewise; Linux before 6.14 does not tell */
	uint32_t left; /* seconds until it is forgotten; 0: over, or not told */
	bool counted;  /* nf_conntrack_acct was on when it began */
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

/*
 * Ask for @entry again: its status, TCP state, and @ret_detail. -ENOENT: gone, or another one by
 * now; else -errno with @ack filled.
 */
int nb_conntrack_get(struct nb_netlink *nl, struct nb_conntrack *entry,
		     struct nb_conntrack_detail *ret_detail, struct nb_netlink_ack *ack);

/* Read a message of ctnetlink about one entry. False: it is none, or not of TCP or UDP. */
bool nb_conntrack_parse(const struct nlmsghdr *message, struct nb_conntrack *ret,
			struct nb_conntrack_detail *ret_detail);

enum nb_conntrack_event {
	NB_CONNTRACK_NEW,
	NB_CONNTRACK_UPDATE, /* also the first that is told of one; without detail */
	NB_CONNTRACK_DESTROY,
};

/*
 * Events of entries that were translated to 127.0.0.0/8, and of no others: the kernel filters
 * them. Entries that began while nobody listened may never be told of (nf_conntrack_events 2).
 */
struct nb_conntrack_listener;

/* NULL with @err filled. */
struct nb_conntrack_listener *nb_conntrack_listen(struct nb_error *err);
void nb_conntrack_listener_free(struct nb_conntrack_listener *listener);
int nb_conntrack_listener_fd(const struct nb_conntrack_listener *listener);
#define NB_CONNTRACK_LOST (1u << 0) /* events, at some time before this was asked */
#define NB_CONNTRACK_MORE (1u << 1) /* are there to be read */
/* Read what is there, without waiting, but not for ever. Returns NB_CONNTRACK_* */
unsigned int nb_conntrack_listener_read(struct nb_conntrack_listener *listener,
					void (*handle)(enum nb_conntrack_event event,
						       const struct nb_conntrack *entry,
						       const struct nb_conntrack_detail *detail,
						       void *data),
					void *data);

#endif
