/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which chains the packets of a mapping meet, and what is known of them there. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tuple_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_ipv4.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../ruleset/foreign.h"
#include "chains.h"
#include "legacy.h"
#include "nat-bridge/ingress.h"
#include "way.h"

#define TRANSLATES_AT  (NF_IP_PRI_NAT_DST - 10) /* chain `translate`, among those of type nat */
#define ADMITS_LATE_AT (NF_IP_PRI_FILTER - 1)	/* chain `admit-late` */
#define BRIDGE_NF      "/proc/sys/net/bridge/bridge-nf-call-iptables"

/* --- Reading --- */

static int read_table(const struct nlmsghdr *message, void *data)
{
	struct nftnl_table *table = nftnl_table_alloc();
	struct nb_way *way = data;
	int r = 0;

	if (!table)
		return -ENOMEM;
	if (nftnl_table_nlmsg_parse(message, table) < 0)
		goto out;
	r = nb_foreign_remember(&way->owned, &way->owned_count, table, NFT_TABLE_F_OWNER);
	if (r == 0)
		r = nb_foreign_remember(&way->dormant, &way->dormant_count, table,
					NFT_TABLE_F_DORMANT);
out:
	nftnl_table_free(table);
	return r;
}

static int read_chain(const struct nlmsghdr *message, void *data)
{
	struct nftnl_chain *chain = nftnl_chain_alloc();
	struct nb_way *way = data;
	uint8_t family;
	const char *table;
	int r = 0;

	if (!chain)
		return -ENOMEM;
	if (nftnl_chain_nlmsg_parse(message, chain) < 0)
		goto out;
	family = (uint8_t)nftnl_chain_get_u32(chain, NFTNL_CHAIN_FAMILY);
	table = nftnl_chain_get_str(chain, NFTNL_CHAIN_TABLE);
	if (family == NFPROTO_IPV6 || family == NFPROTO_ARP ||
	    (family == NFPROTO_INET && strcmp(table, NB_TABLE_NAME) == 0) ||
	    nb_foreign_is_in(way->dormant, way->dormant_count, family, table))
		goto out;
	r = nb_chains_add(&way->chains, chain,
			  nb_foreign_is_in(way->owned, way->owned_count, family, table));
out:
	nftnl_chain_free(chain);
	return r;
}

static int dump(struct nb_way *way, uint16_t type, int (*callback)(const struct nlmsghdr *, void *))
{
	char buffer[256] = { 0 };

	return nb_netlink_ask(way->nl, NETLINK_NETFILTER,
			      nftnl_nlmsg_build_hdr(buffer, type, NFPROTO_UNSPEC, NLM_F_DUMP, 0),
			      callback, way, NULL);
}

/* Is it one of the bridge or of a device, and not of IPv4's hooks? */
static bool is_of_link(const struct nb_chain *chain)
{
	return chain->device_count || chain->family == NFPROTO_BRIDGE;
}

/* A packet that comes in meets those of the bridge, then those of its ingress as of a device. */
static int stage_of(const struct nb_chain *chain)
{
	if (!is_of_link(chain))
		return 3;
	if (chain->device_count)
		return chain->egress ? 0 : 2;
	return chain->hook != NF_INET_PRE_ROUTING;
}

static int by_way(const void *a, const void *b)
{
	const struct nb_chain *first = *(const struct nb_chain *const *)a;
	const struct nb_chain *second = *(const struct nb_chain *const *)b;

	if (stage_of(first) != stage_of(second))
		return stage_of(first) - stage_of(second);
	if (first->priority != second->priority)
		return first->priority < second->priority ? -1 : 1;
	return first < second ? -1 : first > second;
}

size_t nb_way_nth(const struct nb_way *way, enum nb_leg leg, size_t n)
{
	return leg == NB_LEG_TRANSLATED || leg == NB_LEG_RETURNS
		       ? (n + way->link_count) % way->sorted_count
		       : n;
}

static bool read_flag(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char value = '0';

	if (fd < 0)
		return false;
	if (read(fd, &value, 1) != 1)
		value = '0';
	close(fd);
	return value != '0';
}

int nb_way_read(struct nb_way *way, struct nb_error *err)
{
	int r = dump(way, NFT_MSG_GETTABLE, read_table);

	if (r == 0)
		r = dump(way, NFT_MSG_GETCHAIN, read_chain);
	if (r == 0)
		r = nb_legacy_read(&way->chains);
	if (r < 0)
		return r;
	way->sets = (struct nb_set_reader){ .nl = way->nl, .chains = &way->chains };
	way->sorted = calloc(way->chains.count + 1, sizeof(*way->sorted));
	if (!way->sorted)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < way->chains.count; i++) {
		if (!way->chains.items[i].base)
			continue;
		way->sorted[way->sorted_count++] = &way->chains.items[i];
		way->link_count += is_of_link(&way->chains.items[i]);
		r = nb_chains_load(way->nl, &way->chains, i, err);
	}
	qsort(way->sorted, way->sorted_count, sizeof(*way->sorted), by_way);
	return r;
}

/* --- The way --- */

enum nb_leg nb_way_leg(const struct nb_way *way, const struct nb_chain *chain,
		       const struct nb_flow_path *path)
{
	if (chain->device_count) { /* the ingress of devices */
		if (!nb_chain_has_device(chain, path->bridge))
			return NB_LEG_NONE;
		if (chain->egress)
			return NB_LEG_RETURNS;
		return way->bridge_nf ? NB_LEG_TRANSLATED : NB_LEG_ARRIVES;
	}
	if (chain->family == NFPROTO_NETDEV)
		return NB_LEG_NONE;
	switch (chain->hook) {
	case NF_INET_PRE_ROUTING:
		if (chain->family == NFPROTO_BRIDGE)
			return way->bridge_nf && chain->priority > 0 ? NB_LEG_TRANSLATED
								     : NB_LEG_ARRIVES;
		/* those behind ours do not see what is translated */
		if (strcmp(chain->type, "nat") == 0 && chain->priority >= TRANSLATES_AT)
			return NB_LEG_NONE;
		if (strcmp(chain->type, "nat") == 0)
			return NB_LEG_ARRIVES;
		/* the kernel calls all of those at one priority */
		return chain->priority < NF_IP_PRI_NAT_DST ? NB_LEG_ARRIVES : NB_LEG_TRANSLATED;
	case NF_INET_LOCAL_IN:
		if (chain->family == NFPROTO_BRIDGE)
			return way->bridge_nf ? NB_LEG_TRANSLATED : NB_LEG_ARRIVES;
		return NB_LEG_ENTERS;
	case NF_INET_LOCAL_OUT:
	case NF_INET_POST_ROUTING:
		if (chain->family == NFPROTO_BRIDGE)
			return NB_LEG_RETURNS;
		if (strcmp(chain->type, "nat") == 0 || chain->priority == NF_IP_PRI_NAT_SRC)
			return NB_LEG_NONE;
		if (chain->hook == NF_INET_LOCAL_OUT)
			return NB_LEG_ANSWERS;
		return chain->priority < NF_IP_PRI_NAT_SRC ? NB_LEG_LEAVES : NB_LEG_RETURNS;
	}
	return NB_LEG_NONE;
}

static void set_device(struct nb_packet_device *device, const struct nb_flow_path *path)
{
	device->known = true;
	memcpy(device->name, path->bridge, sizeof(device->name));
	device->index = path->index;
}

/* A path without ports stands for every mapping of its bridge. */
static void set_destination(struct nb_packet *packet, const struct nb_flow_path *path,
			    bool translated)
{
	if (path->port)
		nb_packet_set_destination_port(packet, translated ? path->target.port : path->port);
	if (translated)
		nb_packet_set_destination(packet, path->target.address, path->port ? 32 : 8);
}

static void make_request(struct nb_packet *packet, const struct nb_flow_path *path,
			 const struct nb_chain *chain, bool translated)
{
	if (chain->family != NFPROTO_BRIDGE)
		set_device(&packet->in, path);
	packet->out.known = true; /* there is none */
	packet->source_type = RTN_UNICAST;
	packet->destination_type = RTN_LOCAL;
	set_destination(packet, path, translated);
	if (is_of_link(chain) || (!translated && chain->priority <= NF_IP_PRI_CONNTRACK))
		return;
	packet->ct_state = NF_CT_STATE_BIT(IP_CT_NEW);
	packet->ct_state_known = UINT32_MAX;
	packet->ct_direction = IP_CT_DIR_ORIGINAL;
	packet->ct_status = translated ? IPS_DST_NAT : 0;
	packet->ct_status_known = IPS_DST_NAT;
}

static void make_answer(struct nb_packet *packet, const struct nb_flow_path *path, enum nb_leg leg,
			const struct nb_chain *chain)
{
	if (chain->family != NFPROTO_BRIDGE)
		set_device(&packet->out, path);
	packet->in.known = true; /* there is none */
	packet->source_type = RTN_LOCAL;
	packet->destination_type = RTN_UNICAST;
	if (leg != NB_LEG_RETURNS)
		nb_packet_set_source(packet, path->target.address, path->port ? 32 : 8);
	if (path->port)
		nb_packet_set_source_port(packet,
					  leg == NB_LEG_RETURNS ? path->port : path->target.port);
	if (is_of_link(chain) ||
	    (chain->hook == NF_INET_LOCAL_OUT && chain->priority <= NF_IP_PRI_CONNTRACK))
		return;
	packet->ct_state = NF_CT_STATE_BIT(IP_CT_ESTABLISHED);
	packet->ct_state_known = UINT32_MAX;
	packet->ct_direction = IP_CT_DIR_REPLY;
	packet->ct_status = packet->ct_status_known = IPS_DST_NAT | IPS_SEEN_REPLY | IPS_CONFIRMED;
}

static uint8_t type_of(void *data, uint32_t address)
{
	struct nb_error ignored;
	struct nb_route route;

	if (nb_route_lookup(data, address, &route, &ignored) < 0)
		return 0;
	return route.local ? RTN_LOCAL : RTN_UNICAST;
}

/* What has to stay as it is, from that chain on. */
static unsigned int fixed_fields(const struct nb_flow_path *path, enum nb_leg leg,
				 const struct nb_chain *chain)
{
	bool tracked = leg == NB_LEG_LEAVES ||
		       (leg == NB_LEG_ANSWERS && chain->priority > NF_IP_PRI_CONNTRACK);

	if (!tracked)
		return NB_FIELD_ALL;
	/* the translation will write the source, whatever is there; chain `answers` asks for UDP's */
	return NB_FIELD_DESTINATION | NB_FIELD_DESTINATION_PORT |
	       (path->protocol == IPPROTO_TCP ? 0 : NB_FIELD_SOURCE_PORT);
}

static void make_packet(struct nb_packet *packet, const struct nb_way *way,
			const struct nb_flow_path *path, enum nb_leg leg,
			const struct nb_chain *chain)
{
	struct nb_marks marks = nb_packet_marks(packet);

	nb_packet_init(packet, chain->family);
	if (path->protocol)
		nb_packet_set_protocol(packet, path->protocol);
	packet->ct_dialled = path->port;
	if (leg >= NB_LEG_ANSWERS) {
		make_answer(packet, path, leg, chain);
		nb_packet_set_destination(packet, way->network.address, way->network.length);
	} else {
		make_request(packet, path, chain, leg != NB_LEG_ARRIVES);
		nb_packet_set_source(packet, way->network.address, way->network.length);
	}
	nb_packet_set_marks(packet, &marks);
}

void nb_way_walk(struct nb_walk *walk, struct nb_way *way, const struct nb_flow_path *path,
		 enum nb_leg leg, const struct nb_chain *chain)
{
	struct nb_zone zone = walk->zone;

	walk->chains = &way->chains;
	walk->look_up = nb_set_look_up;
	walk->data = &way->sets;
	walk->diversion.truth = NB_NO;
	walk->course = (struct nb_course){
		.target = path->target,
		.fixed = fixed_fields(path, leg, chain),
		.type_of = type_of,
		.data = way->nl,
	};
	make_packet(&walk->packet, way, path, leg, chain);
	nb_walk_chain(walk, chain, chain->count);
	/* what is tracked already has its zone */
	if (is_of_link(chain) || chain->priority >= NF_IP_PRI_CONNTRACK)
		walk->zone = zone;
}

bool nb_zones_differ(const struct nb_zone *requests, const struct nb_zone *answers)
{
	return requests->set != NB_MAYBE && answers->set != NB_MAYBE &&
	       (!requests->set || requests->known) && (!answers->set || answers->known) &&
	       (requests->set ? requests->id : 0) != (answers->set ? answers->id : 0);
}

/* Is our filter at the ingress of this bridge? */
static bool is_filtered(const struct nb_way *way, const struct nb_flow_path *path)
{
	struct nb_link link = { .index = path->index };
	struct nb_error ignored;

	memcpy(link.name, path->bridge, sizeof(link.name));
	return path->index && nb_ingress_read(way->nl, &link, way->mark, &ignored) == 0 &&
	       link.ingress.priority;
}

void nb_way_read_bridge_nf(struct nb_way *way, const struct nb_flow_path *path)
{
	char file[64 + NB_IFNAME_SIZE];

	snprintf(file, sizeof(file), "/sys/class/net/%s/bridge/nf_call_iptables", path->bridge);
	way->bridge_nf = read_flag(BRIDGE_NF) || read_flag(file);
	way->filtered = way->bridge_nf && is_filtered(way, path);
}

void nb_way_enter(const struct nb_way *way, enum nb_leg leg, struct nb_marks *carried)
{
	/* it comes from another namespace, or a socket of the host made it */
	if (leg == NB_LEG_ARRIVES || leg == NB_LEG_ANSWERS) {
		carried->mark = 0;
		carried->mark_known = UINT32_MAX;
	}
	/* a new connection has none; its answers find what the request left */
	if (leg == NB_LEG_ARRIVES) {
		carried->ct_mark = 0;
		carried->ct_mark_known = UINT32_MAX;
	}
	/* chain `admit` */
	if (leg == NB_LEG_ENTERS) {
		carried->mark |= way->mark;
		carried->mark_known |= way->mark;
	}
}

bool nb_way_is_behind_ours(enum nb_leg leg, const struct nb_chain *chain)
{
	if (leg == NB_LEG_TRANSLATED)
		return is_of_link(chain) || chain->priority > NB_STAMPS_AT;
	return leg == NB_LEG_ENTERS && chain->priority > ADMITS_LATE_AT;
}

void nb_way_clear(struct nb_way *way)
{
	free(way->sorted);
	nb_foreign_forget(way->owned, way->owned_count);
	nb_foreign_forget(way->dormant, way->dormant_count);
	nb_chain_list_clear(&way->chains);
}
