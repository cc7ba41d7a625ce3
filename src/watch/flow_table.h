/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The flows that a log has begun to tell of. Pure: what is known of each, found by its tuple.
 */
#ifndef NAT_BRIDGE_WATCH_FLOW_TABLE_H
#define NAT_BRIDGE_WATCH_FLOW_TABLE_H

#include "../netlink/conntrack.h"
#include "nat-bridge/mapping.h"

#define NB_ORIGINS_MAX 4096

/* Who has an address: shared by its flows, and kept as long as one of them needs it. */
struct nb_origin {
	uint32_t address;
	unsigned int flows;
	bool current;			      /* nothing has happened since that may change it */
	char bridge[NB_IFNAME_SIZE];	      /* "": not known, or none that carries mappings */
	char network[NB_NETWORK_SIZE];	      /* qualified, "": likewise */
	char container[NB_NETWORK_NAME_SIZE]; /* "": not known */
	struct nb_origin *next;
};

struct nb_flow {
	struct nb_conntrack entry;
	struct nb_origin *origin;
	struct nb_flow *previous, *next;
	uint64_t number;     /* of the log's own: the kernel gives an id again */
	uint64_t packets[2]; /* as its end was told */
	int64_t began;	     /* milliseconds since the epoch; 0: before anybody looked */
	int64_t over;	     /* when it closed, 0: it is open */
	int64_t until;	     /* when its mapping ends, 0: never */
	uint8_t reason;	     /* of that, as the log has it */
	bool resumed;	     /* it was there before the log was */
	bool heard;	     /* events come of it */
	bool finished;	     /* one side has closed it */
	bool told;	     /* that it has ended */
	bool seen;	     /* in the dump that is under way */
};

struct nb_flow_table {
	void *tree;
	struct nb_flow *first;
	size_t count;
	struct nb_origin *origins;
	size_t origin_count;
};

/* What a mapping made the target of @entry: where its answers come from. */
struct nb_target nb_flow_target(const struct nb_conntrack *entry);

struct nb_flow *nb_flow_table_find(const struct nb_flow_table *table,
				   const struct nb_conntrack *entry);
/* Add one that is not there. Takes over @origin, which counts it. NULL: out of memory. */
struct nb_flow *nb_flow_table_add(struct nb_flow_table *table, const struct nb_conntrack *entry,
				  struct nb_origin *origin);
void nb_flow_table_remove(struct nb_flow_table *table, struct nb_flow *flow);
void nb_flow_table_clear(struct nb_flow_table *table);

/* What is known of an address now, or NULL. */
struct nb_origin *nb_flow_table_origin(struct nb_flow_table *table, uint32_t address);
/*
 * A new one, about which nothing is known. NULL: out of memory. Of many that no flow has, those
 * before it are forgotten: a container may make up addresses.
 */
struct nb_origin *nb_flow_table_add_origin(struct nb_flow_table *table, uint32_t address);
/* Addresses may be somebody else's from now on. */
void nb_flow_table_forget_origins(struct nb_flow_table *table);

#endif
