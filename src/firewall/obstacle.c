/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What keeps a mapping from working where no opener helps: each stretch of the way that a
 * packet of the mapping takes, and its answer, is walked through everybody's chains.
 */
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
#include <libnftnl/expr.h>

#include "../ruleset/foreign.h"
#include "chains.h"
#include "clash.h"
#include "legacy.h"
#include "nat-bridge/firewall.h"
#include "nat-bridge/route.h"
#include "../ruleset/opener.h"
#include "program.h"
#include "sets.h"
#include "tell.h"

#define TRANSLATES_AT  (NF_IP_PRI_NAT_DST - 10) /* chain `translate`, among those of type nat */
#define STAMPS_AT      (NF_IP_PRI_NAT_DST + 1)	/* chain `spoofed`, which sets our mark */
#define ADMITS_LATE_AT (NF_IP_PRI_FILTER - 1)	/* chain `admit-late` */
#define BRIDGE_NF      "/proc/sys/net/bridge/bridge-nf-call-iptables"
/* Enough to act on; the next run shows what is left. */
#define MOST_OBSTACLES 20
/* One by one, where anything may concern them: 10,000 rules of others are then 2 s. */
#define MOST_WALKED 2000

struct search {
	struct nb_netlink *nl;
	uint32_t mark;
	struct nb_chain_list chains;
	struct nb_foreign_name *owned;
	size_t owned_count;
	struct nb_foreign_name *dormant;
	size_t dormant_count;
	const struct nb_chain **sorted;	 /* base chains, in the order of the way */
	size_t sorted_count, link_count; /* all; those before IPv4's */
	bool bridge_nf; /* IPv4 hooks see this bridge's packets before its own later chains do */
	struct nb_obstacle_list *found;
	int result;		  /* -ENOMEM: one was found, and could not be kept */
	struct nb_prefix network; /* of the bridge that is looked at */
};

/* --- Reading --- */

static int read_table(const struct nlmsghdr *message, void *data)
{
	struct nftnl_table *table = nftnl_table_alloc();
	struct search *search = data;
	int r = 0;

	if (!table)
		return -ENOMEM;
	if (nftnl_table_nlmsg_parse(message, table) < 0)
		goto out;
	r = nb_foreign_remember(&search->owned, &search->owned_count, table, NFT_TABLE_F_OWNER);
	if (r == 0)
		r = nb_foreign_remember(&search->dormant, &search->dormant_count, table,
					NFT_TABLE_F_DORMANT);
out:
	nftnl_table_free(table);
	return r;
}

static int read_chain(const struct nlmsghdr *message, void *data)
{
	struct nftnl_chain *chain = nftnl_chain_alloc();
	struct search *search = data;
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
	    nb_foreign_is_in(search->dormant, search->dormant_count, family, table))
		goto out;
	r = nb_chains_add(&search->chains, chain,
			  nb_foreign_is_in(search->owned, search->owned_count, family, table));
out:
	nftnl_chain_free(chain);
	return r;
}

static int dump(struct search *search, uint16_t type,
		int (*callback)(const struct nlmsghdr *, void *))
{
	char buffer[256] = { 0 };

	return nb_netlink_ask(search->nl, NETLINK_NETFILTER,
			      nftnl_nlmsg_build_hdr(buffer, type, NFPROTO_UNSPEC, NLM_F_DUMP, 0),
			      callback, search, NULL);
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

/*
 * Number @n of the chains that are met in a leg. IPv4's come last, but first on the way out, and
 * where they have been run by the bridge's hook (bridge-nf-call-iptables).
 */
static size_t nth_chain(const struct search *search, enum nb_leg leg, size_t n)
{
	return leg == NB_LEG_TRANSLATED || leg == NB_LEG_RETURNS
		       ? (n + search->link_count) % search->sorted_count
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

static int read_firewalls(struct search *search, struct nb_error *err)
{
	int r = dump(search, NFT_MSG_GETTABLE, read_table);

	if (r == 0)
		r = dump(search, NFT_MSG_GETCHAIN, read_chain);
	if (r == 0)
		r = nb_legacy_read(&search->chains);
	if (r < 0)
		return r;
	search->sorted = calloc(search->chains.count + 1, sizeof(*search->sorted));
	if (!search->sorted)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < search->chains.count; i++) {
		if (!search->chains.items[i].base)
			continue;
		search->sorted[search->sorted_count++] = &search->chains.items[i];
		search->link_count += is_of_link(&search->chains.items[i]);
		r = nb_chains_load(search->nl, &search->chains, i, err);
	}
	qsort(search->sorted, search->sorted_count, sizeof(*search->sorted), by_way);
	return r;
}

/* --- The way --- */

/* On which stretch does this chain see packets of the mapping? */
static enum nb_leg find_leg(const struct search *search, const struct nb_chain *chain,
			    const struct nb_flow_path *path)
{
	if (chain->device_count) { /* the ingress of devices */
		if (!nb_chain_has_device(chain, path->bridge))
			return NB_LEG_NONE;
		if (chain->egress)
			return NB_LEG_RETURNS;
		return search->bridge_nf ? NB_LEG_TRANSLATED : NB_LEG_ARRIVES;
	}
	if (chain->family == NFPROTO_NETDEV)
		return NB_LEG_NONE;
	switch (chain->hook) {
	case NF_INET_PRE_ROUTING:
		if (chain->family == NFPROTO_BRIDGE)
			return search->bridge_nf && chain->priority > 0 ? NB_LEG_TRANSLATED
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
			return search->bridge_nf ? NB_LEG_TRANSLATED : NB_LEG_ARRIVES;
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

static void make_packet(struct nb_packet *packet, const struct search *search,
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
		nb_packet_set_destination(packet, search->network.address, search->network.length);
	} else {
		make_request(packet, path, chain, leg != NB_LEG_ARRIVES);
		nb_packet_set_source(packet, search->network.address, search->network.length);
	}
	nb_packet_set_marks(packet, &marks);
}

/* One chain of the way; the marks are what they were behind the chain before. */
static void walk_chain(struct nb_walk *walk, struct search *search, const struct nb_flow_path *path,
		       enum nb_leg leg, const struct nb_chain *chain)
{
	struct nb_set_reader sets = { .nl = search->nl, .chains = &search->chains };
	struct nb_zone zone = walk->zone;

	walk->chains = &search->chains;
	walk->look_up = nb_set_look_up;
	walk->data = &sets;
	walk->diversion.truth = NB_NO;
	walk->course = (struct nb_course){
		.target = path->target,
		.fixed = fixed_fields(path, leg, chain),
		.type_of = type_of,
		.data = search->nl,
	};
	make_packet(&walk->packet, search, path, leg, chain);
	nb_walk_chain(walk, chain, chain->count);
	/* what is tracked already has its zone */
	if (is_of_link(chain) || chain->priority >= NF_IP_PRI_CONNTRACK)
		walk->zone = zone;
}

/* Is an answer of these packets looked for where it is expected not to be? */
static bool zones_differ(const struct nb_zone *requests, const struct nb_zone *answers)
{
	return requests->set != NB_MAYBE && answers->set != NB_MAYBE &&
	       (!requests->set || requests->known) && (!answers->set || answers->known) &&
	       (requests->set ? requests->id : 0) != (answers->set ? answers->id : 0);
}

/* --- Telling --- */

/* One command may mend it for many mappings; it is told once. */
static bool is_told(const struct search *search, const char *cure)
{
	for (size_t i = 0; i < search->found->count; i++)
		if (strcmp(search->found->items[i].cure, cure) == 0)
			return true;
	return false;
}

static void tell(struct search *search, const struct nb_flow_path *path, enum nb_leg leg,
		 enum nb_obstacle_kind kind, const struct nb_walk *walk,
		 const struct nb_chain *base)
{
	struct nb_obstacle obstacle = {
		.kind = kind,
		.path = *path,
		.answers = leg >= NB_LEG_ANSWERS,
		.owned = base->owned,
	};
	const struct nb_place *place = kind == NB_OBSTACLE_UNTRACKS  ? &walk->untracked
				       : kind == NB_OBSTACLE_ZONES   ? &walk->zone.place
				       : kind == NB_OBSTACLE_REMARKS ? &walk->remarked
				       : kind == NB_OBSTACLE_DIVERTS ? &walk->diverted
								     : &walk->drop;

	if (kind == NB_OBSTACLE_DIVERTS)
		obstacle.diverted_to = walk->diversion.to;
	nb_obstacle_cure(path, leg, base, search->mark, obstacle.cure, sizeof(obstacle.cure));
	if (search->found->count == MOST_OBSTACLES || is_told(search, obstacle.cure))
		return;
	nb_obstacle_at(&obstacle, place);
	nb_program_of(&search->chains, base, obstacle.program, sizeof(obstacle.program));
	if (nb_obstacle_append(search->found, &obstacle) < 0)
		search->result = -ENOMEM;
}

/* --- Walking --- */

static void enter_leg(const struct search *search, enum nb_leg leg, struct nb_marks *carried)
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
		carried->mark |= search->mark;
		carried->mark_known |= search->mark;
	}
}

/* Is one of our own chains, which sets our mark, before that one in this leg? */
static bool is_behind_ours(enum nb_leg leg, const struct nb_chain *chain)
{
	if (leg == NB_LEG_TRANSLATED)
		return is_of_link(chain) || chain->priority > STAMPS_AT;
	return leg == NB_LEG_ENTERS && chain->priority > ADMITS_LATE_AT;
}

/* One stretch of the way, for packets of which more or less is known. */
struct stretch {
	struct search *search;
	const struct nb_flow_path *path;
	enum nb_leg leg;
	struct nb_walk walk;
	const struct nb_chain *remarks; /* where the mark was lost */
	bool may_fail;			/* some packet of the kind may not get through */
	bool failed;			/* none does, and it was told */
};

static void fail(struct stretch *stretch, enum nb_obstacle_kind kind, const struct nb_chain *base)
{
	stretch->may_fail = stretch->failed = true;
	if (stretch->path->port)
		tell(stretch->search, stretch->path, stretch->leg, kind, &stretch->walk, base);
}

static void walk_one(struct stretch *stretch, const struct nb_chain *chain)
{
	struct nb_walk *walk = &stretch->walk;
	uint32_t ours = stretch->search->mark;
	struct nb_marks before = nb_packet_marks(&walk->packet);
	/* the opener at its head lets them pass before they come to any rule */
	bool opens = stretch->leg == NB_LEG_ENTERS &&
		     (before.mark & before.mark_known & ours) == ours;
	bool opened = opens && !chain->owned && !chain->legacy;

	walk_chain(walk, stretch->search, stretch->path, stretch->leg, chain);
	if (opened && walk->outcomes & NB_OUTCOME_DROP) {
		nb_packet_set_marks(&walk->packet, &before);
		walk->remarked.chain = stretch->remarks ? walk->remarked.chain : NULL;
		return;
	}
	if (walk->remarked.chain && !stretch->remarks)
		stretch->remarks = chain;
	/* it has an effect only before connection tracking */
	if (chain->priority >= NF_IP_PRI_CONNTRACK)
		walk->is_untracked = NB_NO;
	stretch->may_fail |= walk->is_untracked != NB_NO || walk->diversion.truth != NB_NO ||
			     walk->outcomes & NB_OUTCOME_DROP;
	/* it comes before whatever else the chain does to all of them */
	if (walk->diversion.truth == NB_YES) {
		fail(stretch, NB_OBSTACLE_DIVERTS, chain);
		return;
	}
	if (opens && walk->outcomes & NB_OUTCOME_DROP) {
		/* an opener would stand here if it could; behind it others are looked at, too */
		fail(stretch,
		     walk->outcomes == NB_OUTCOME_DROP ? NB_OBSTACLE_DROPS : NB_OBSTACLE_MAY_DROP,
		     chain);
		stretch->failed = false;
		return;
	}
	if (walk->is_untracked == NB_YES)
		fail(stretch, NB_OBSTACLE_UNTRACKS, chain);
	else if (walk->outcomes == NB_OUTCOME_DROP && stretch->remarks && stretch->remarks != chain)
		fail(stretch, NB_OBSTACLE_REMARKS, stretch->remarks);
	else if (walk->outcomes == NB_OUTCOME_DROP)
		fail(stretch, NB_OBSTACLE_DROPS, chain);
}

/* What is found first is told, for behind that nothing comes. */
static bool walk_leg(struct search *search, const struct nb_flow_path *path, enum nb_leg leg,
		     struct nb_marks *carried, struct nb_zone *ret_zone)
{
	struct stretch stretch = {
		.search = search,
		.path = path,
		.leg = leg,
		.walk.guarded = leg == NB_LEG_ENTERS ? search->mark : 0,
	};
	bool marked = false;

	nb_packet_set_marks(&stretch.walk.packet, carried);
	for (size_t i = 0; i < search->sorted_count && !stretch.failed; i++) {
		const struct nb_chain *chain = search->sorted[nth_chain(search, leg, i)];

		if (find_leg(search, chain, path) != leg)
			continue;
		if (!marked && is_behind_ours(leg, chain)) {
			nb_packet_write_mark(&stretch.walk.packet, search->mark, search->mark);
			stretch.walk.remarked.chain = stretch.remarks = NULL;
			marked = true;
		}
		walk_one(&stretch, chain);
	}
	*carried = nb_packet_marks(&stretch.walk.packet);
	*ret_zone = stretch.walk.zone;
	/* mended, they come to rules that were not looked at */
	if (stretch.failed) {
		carried->mark_known = carried->ct_mark_known = 0;
		ret_zone->set = NB_MAYBE;
	}
	return stretch.may_fail || stretch.walk.zone.set;
}

static bool is_port(const char *bridge, const char *device)
{
	char path[64 + 2 * NB_IFNAME_SIZE];

	snprintf(path, sizeof(path), "/sys/class/net/%s/brif/%s", bridge, device);
	return access(path, F_OK) == 0;
}

/* What the ingress of one of the bridge's ports does to the packets of its container. */
static bool walk_port(struct search *search, const struct nb_flow_path *path,
		      const struct nb_chain *chain, const char *port, struct nb_marks *carried)
{
	struct nb_walk walk = { .packet.mark_known = UINT32_MAX };
	struct nb_flow_path there = *path;

	memcpy(there.bridge, port, sizeof(there.bridge));
	there.index = 0;
	walk_chain(&walk, search, &there, NB_LEG_ARRIVES, chain);
	/* those of other ports may have another */
	carried->mark_known &= walk.packet.mark_known & ~walk.packet.mark;
	if (!path->port)
		return walk.outcomes & NB_OUTCOME_DROP || walk.diversion.truth != NB_NO;
	if (walk.diversion.truth == NB_YES)
		tell(search, &there, NB_LEG_ARRIVES, NB_OBSTACLE_DIVERTS, &walk, chain);
	else if (walk.outcomes == NB_OUTCOME_DROP)
		tell(search, &there, NB_LEG_ARRIVES, NB_OBSTACLE_DROPS, &walk, chain);
	return walk.outcomes & NB_OUTCOME_DROP;
}

static bool walk_ports(struct search *search, const struct nb_flow_path *path,
		       struct nb_marks *carried)
{
	bool may_fail = false;

	for (size_t i = 0; i < search->link_count; i++) {
		const struct nb_chain *chain = search->sorted[i];

		for (size_t j = 0; !chain->egress && j < chain->device_count; j++)
			if (is_port(path->bridge, chain->devices[j]))
				may_fail |= walk_port(search, path, chain, chain->devices[j],
						      carried);
	}
	return may_fail;
}

/* Both rules, if both have their part in it: one that sets no zone for answers has none. */
static void tell_zones(struct search *search, const struct nb_flow_path *path,
		       const struct nb_zone *zones)
{
	static const enum nb_leg legs[] = { NB_LEG_ARRIVES, NB_LEG_ANSWERS };

	if (!path->port || !zones_differ(&zones[NB_LEG_ARRIVES], &zones[NB_LEG_ANSWERS]))
		return;
	for (size_t i = 0; i < sizeof(legs) / sizeof(legs[0]); i++) {
		struct nb_walk walk = { .zone = zones[legs[i]] };

		if (walk.zone.set && walk.zone.id)
			tell(search, path, legs[i], NB_OBSTACLE_ZONES, &walk, walk.zone.base);
	}
}

static bool walk_path(struct search *search, const struct nb_flow_path *path)
{
	struct nb_zone zones[NB_LEG_COUNT] = { 0 };
	struct nb_marks carried = { 0 };
	bool may_fail = false;

	for (int leg = NB_LEG_ARRIVES; leg < NB_LEG_COUNT; leg++) {
		enter_leg(search, (enum nb_leg)leg, &carried);
		if (leg == NB_LEG_ARRIVES)
			may_fail |= walk_ports(search, path, &carried);
		may_fail |= walk_leg(search, path, (enum nb_leg)leg, &carried, &zones[leg]);
	}
	tell_zones(search, path, zones);
	return may_fail;
}

/* Is there anything that may concern a mapping of this bridge, whichever? */
static bool may_concern(struct search *search, const struct nb_flow_path *path)
{
	struct nb_flow_path any = { .index = path->index, .target.address = INADDR_LOOPBACK };

	memcpy(any.bridge, path->bridge, sizeof(any.bridge));
	return walk_path(search, &any);
}

/* Its setting, or the one of all bridges. */
static void read_bridge_nf(struct search *search, const struct nb_flow_path *path)
{
	char file[64 + NB_IFNAME_SIZE];

	snprintf(file, sizeof(file), "/sys/class/net/%s/bridge/nf_call_iptables", path->bridge);
	search->bridge_nf = read_flag(BRIDGE_NF) || read_flag(file);
}

static void find_reverse_path(struct search *search, const struct nb_flow_path *path)
{
	struct nb_obstacle obstacle = { .kind = NB_OBSTACLE_REVERSE_PATH, .path = *path };
	struct nb_error ignored;

	if (nb_route_network(search->nl, path->index, &search->network, &ignored) < 0 ||
	    search->network.length == 0 ||
	    nb_route_accepts(search->nl, path->index, &search->network, &ignored) != 0)
		return;
	snprintf(obstacle.cure, sizeof(obstacle.cure),
		 "sysctl -w net.ipv4.conf.%s.rp_filter=0 net.ipv4.conf.all.rp_filter=0",
		 path->bridge);
	if (nb_obstacle_append(search->found, &obstacle) < 0)
		search->result = -ENOMEM;
}

static void close_firewalls(struct search *search)
{
	free(search->sorted);
	nb_foreign_forget(search->owned, search->owned_count);
	nb_foreign_forget(search->dormant, search->dormant_count);
	nb_chain_list_clear(&search->chains);
}

int nb_firewall_find(struct nb_netlink *nl, uint32_t mark, const struct nb_flow_path *paths,
		     size_t count, struct nb_obstacle_list *ret, struct nb_error *err)
{
	struct search search = { .nl = nl, .mark = mark, .found = ret };
	int r = count ? read_firewalls(&search, err) : 0;
	bool concerned = false;
	size_t walked = 0;

	for (size_t i = 0; r == 0 && i < count && ret->count < MOST_OBSTACLES; i++) {
		if (i == 0 || strcmp(paths[i].bridge, paths[i - 1].bridge) != 0) {
			read_bridge_nf(&search, &paths[i]);
			find_reverse_path(&search, &paths[i]);
			concerned = may_concern(&search, &paths[i]);
		}
		if (concerned && walked++ < MOST_WALKED)
			walk_path(&search, &paths[i]);
		r = search.result;
	}
	if (r == 0 && count)
		r = nb_clash_find(&search.chains, mark, ret);
	close_firewalls(&search);
	return r == -ENOMEM ? r : 0;
}

/* --- One rule that was seen --- */

static int take_jump(struct nftnl_expr *expr, void *data)
{
	if (strcmp(nftnl_expr_get_str(expr, NFTNL_EXPR_NAME), "immediate") == 0 &&
	    nftnl_expr_is_set(expr, NFTNL_EXPR_IMM_CHAIN))
		*(const char **)data = nftnl_expr_get_str(expr, NFTNL_EXPR_IMM_CHAIN);
	return 0;
}

/* @seen, by the place of a chain in the list: each is looked at once. */
static bool reaches(const struct search *search, const struct nb_chain *from,
		    const struct nb_chain *to, bool *seen)
{
	if (from == to)
		return true;
	seen[from - search->chains.items] = true;
	for (size_t i = 0; i < from->count; i++) {
		const struct nb_chain *next;
		const char *name = NULL;

		if (from->rules[i])
			nftnl_expr_foreach(from->rules[i], take_jump, &name);
		next = name ? nb_chain_find(&search->chains, from, name) : NULL;
		if (next && !seen[next - search->chains.items] && reaches(search, next, to, seen))
			return true;
	}
	return false;
}

static bool leads_to(const struct search *search, const struct nb_chain *from,
		     const struct nb_chain *to)
{
	bool *seen = calloc(search->chains.count, sizeof(*seen)), found;

	if (!seen)
		return from == to;
	found = reaches(search, from, to, seen);
	free(seen);
	return found;
}

static bool is_there(const struct nb_chain *chain, const struct nb_obstacle *obstacle,
		     struct nb_place *place)
{
	if (chain->legacy || chain->family != obstacle->family ||
	    strcmp(chain->table, obstacle->table) != 0 || strcmp(chain->name, obstacle->chain) != 0)
		return false;
	*place = (struct nb_place){ .chain = chain };
	for (size_t i = 0; obstacle->handle && i < chain->count; i++)
		if (chain->rules[i] &&
		    nftnl_rule_get_u64(chain->rules[i], NFTNL_RULE_HANDLE) == obstacle->handle)
			*place = (struct nb_place){ chain, chain->rules[i], i };
	return !obstacle->handle || place->rule;
}

static void explain(const struct search *search, const struct nb_flow_path *path,
		    const struct nb_place *place, struct nb_obstacle *ret)
{
	const struct nb_chain *base = place->chain;
	enum nb_leg leg = NB_LEG_NONE;
	struct nb_flow_path there = *path;
	bool answers = ret->answers;

	/* a chain that is jumped to from several: that which the packet passed */
	for (size_t i = 0; i < search->sorted_count && leg == NB_LEG_NONE; i++) {
		const struct nb_chain *one = search->sorted[i];
		enum nb_leg of = find_leg(search, one, path);

		/* a translation before ours, and the ingress of a bridge's port */
		if (of == NB_LEG_NONE && !answers &&
		    (one->device_count ||
		     (one->hook == NF_INET_PRE_ROUTING && one->family != NFPROTO_BRIDGE)))
			of = NB_LEG_ARRIVES;
		if (of == NB_LEG_NONE || !leads_to(search, one, place->chain) ||
		    answers != (of >= NB_LEG_ANSWERS))
			continue;
		base = one;
		leg = of;
	}
	ret->kind = NB_OBSTACLE_DROPS;
	ret->path = *path;
	ret->owned = base->owned;
	nb_obstacle_at(ret, place);
	nb_program_of(&search->chains, base, ret->program, sizeof(ret->program));
	if (base->device_count && !nb_chain_has_device(base, path->bridge))
		memcpy(there.bridge, base->devices[0], sizeof(there.bridge));
	if (leg != NB_LEG_NONE)
		nb_obstacle_cure(&there, leg, base, search->mark, ret->cure, sizeof(ret->cure));
	else
		snprintf(ret->cure, sizeof(ret->cure), "make an exception for %s in chain %s %s %s",
			 path->bridge, nb_family_name(ret->family), ret->table, ret->chain);
}

int nb_firewall_explain(struct nb_netlink *nl, uint32_t mark, const struct nb_flow_path *path,
			struct nb_obstacle *ret, struct nb_error *err)
{
	struct search search = { .nl = nl, .mark = mark };
	int r = read_firewalls(&search, err);
	struct nb_place place;

	read_bridge_nf(&search, path);
	if (r == 0)
		r = -ENOENT;
	for (size_t i = 0; r == -ENOENT && i < search.chains.count; i++)
		if (is_there(&search.chains.items[i], ret, &place)) {
			explain(&search, path, &place, ret);
			r = 0;
		}
	close_firewalls(&search);
	return r;
}

bool nb_firewall_has_legacy(void)
{
	struct nb_chain_list chains = { 0 };
	bool found;

	found = nb_legacy_read(&chains) == 0 && chains.count;
	nb_chain_list_clear(&chains);
	return found;
}

int nb_firewall_advise(struct nb_netlink *nl, uint32_t mark, const struct nb_flow_path *paths,
		       size_t count, struct nb_warnings *warnings, struct nb_error *err)
{
	struct nb_obstacle_list found = { 0 };
	int r = nb_firewall_find(nl, mark, paths, count, &found, err);
	char text[NB_OBSTACLE_TEXT];

	for (size_t i = 0; i < found.count; i++)
		nb_warn(warnings, "%s", nb_obstacle_text(&found.items[i], text, sizeof(text)));
	nb_obstacle_list_clear(&found);
	return r;
}

/* --- The overview --- */

/* What a chain does to the packets of one mapping, whatever other chains did before. */
static enum nb_passage judge_chain(const struct nb_walk *walk, const struct nb_chain *chain)
{
	enum nb_truth untracked = chain->priority < NF_IP_PRI_CONNTRACK ? walk->is_untracked
									: NB_NO;

	if (untracked == NB_YES || walk->diversion.truth == NB_YES ||
	    walk->outcomes == NB_OUTCOME_DROP)
		return NB_PASSES_NOT;
	if (untracked == NB_MAYBE || walk->diversion.truth == NB_MAYBE ||
	    walk->outcomes & NB_OUTCOME_DROP)
		return NB_PASSES_PERHAPS;
	return NB_PASSES;
}

/* @passages, by the order of search->sorted, get what is worse. */
static void survey_leg(struct search *search, const struct nb_flow_path *path, enum nb_leg leg,
		       struct nb_marks *carried, enum nb_passage *passages,
		       struct nb_zone *ret_zone)
{
	bool marked = false;

	for (size_t n = 0; n < search->sorted_count; n++) {
		size_t i = nth_chain(search, leg, n);
		const struct nb_chain *chain = search->sorted[i];
		struct nb_walk walk = { .zone = *ret_zone };
		enum nb_passage passage;

		if (find_leg(search, chain, path) != leg)
			continue;
		nb_packet_set_marks(&walk.packet, carried);
		if (!marked && is_behind_ours(leg, chain)) {
			nb_packet_write_mark(&walk.packet, search->mark, search->mark);
			marked = true;
		}
		walk_chain(&walk, search, path, leg, chain);
		*ret_zone = walk.zone;
		*carried = nb_packet_marks(&walk.packet);
		passage = judge_chain(&walk, chain);
		if (passage > passages[i])
			passages[i] = passage;
	}
}

static void survey_zones(const struct search *search, const struct nb_zone *requests,
			 const struct nb_zone *answers, enum nb_passage *passages)
{
	bool differ = zones_differ(requests, answers);

	for (size_t i = 0; i < search->sorted_count; i++) {
		const struct nb_chain *chain = search->sorted[i];

		if ((requests->set && requests->base == chain) ||
		    (answers->set && answers->base == chain))
			passages[i] = differ ? NB_PASSES_NOT : passages[i];
	}
}

/* Does every chain let all of it through? */
static bool survey_path(struct search *search, const struct nb_flow_path *path,
			enum nb_passage *passages)
{
	struct nb_zone zones[NB_LEG_COUNT] = { 0 };
	struct nb_marks carried = { 0 };
	bool passes = true;

	for (int leg = NB_LEG_ARRIVES; leg < NB_LEG_COUNT; leg++) {
		enter_leg(search, (enum nb_leg)leg, &carried);
		survey_leg(search, path, (enum nb_leg)leg, &carried, passages, &zones[leg]);
	}
	survey_zones(search, &zones[NB_LEG_ARRIVES], &zones[NB_LEG_ANSWERS], passages);
	for (size_t i = 0; i < search->sorted_count; i++)
		passes &= passages[i] <= NB_PASSES;
	return passes;
}

/* One bridge's paths: first all of them as one, and if that is not clear one by one. */
static int survey_bridge(struct search *search, const struct nb_flow_path *paths, size_t count,
			 size_t *walked, enum nb_passage *passages)
{
	size_t size = search->sorted_count * sizeof(*passages);
	struct nb_flow_path any = { .index = paths->index, .target.address = INADDR_LOOPBACK };
	enum nb_passage *whole = calloc(search->sorted_count + 1, sizeof(*whole));
	struct nb_error ignored;

	if (!whole)
		return -ENOMEM;
	memcpy(any.bridge, paths->bridge, sizeof(any.bridge));
	read_bridge_nf(search, paths);
	search->network.length = 0;
	(void)nb_route_network(search->nl, paths->index, &search->network, &ignored);
	if (!survey_path(search, &any, whole)) {
		size_t i = 0;

		for (; i < count && *walked < MOST_WALKED; i++, ++*walked)
			survey_path(search, &paths[i], passages);
		if (i == count)
			memset(whole, 0, size);
	}
	for (size_t i = 0; i < search->sorted_count; i++)
		if (whole[i] > passages[i])
			passages[i] = whole[i];
	free(whole);
	return 0;
}

static const char *hook_name(const struct nb_chain *chain)
{
	static const char *const names[] = { "prerouting", "input", "forward", "output",
					     "postrouting" };

	if (chain->device_count)
		return chain->egress ? "egress" : "ingress";
	return chain->hook < sizeof(names) / sizeof(names[0]) ? names[chain->hook] : "";
}

static bool has_opener(const struct nb_chain *chain, uint32_t mark)
{
	uint32_t found;

	for (size_t i = 0; i < chain->count; i++)
		if (chain->rules[i] && nb_opener_recognise(chain->rules[i], &found) &&
		    found == mark)
			return true;
	return false;
}

static int list_chain(const struct search *search, const struct nb_chain *chain,
		      enum nb_passage passage, struct nb_firewall_list *ret)
{
	struct nb_firewall_chain *added = reallocarray(ret->items, ret->count + 1, sizeof(*added));

	if (!added)
		return -ENOMEM;
	ret->items = added;
	added += ret->count;
	*added = (struct nb_firewall_chain){
		.family = nb_family_name(chain->family),
		.table = strdup(chain->table),
		.chain = strdup(chain->name),
		.hook = hook_name(chain),
		.priority = chain->priority,
		.legacy = chain->legacy,
		.owned = chain->owned,
		.opener = has_opener(chain, search->mark),
		.passage = passage,
	};
	nb_program_of(&search->chains, chain, added->program, sizeof(added->program));
	ret->count++;
	return added->table && added->chain ? 0 : -ENOMEM;
}

static int survey(struct search *search, const struct nb_flow_path *paths, size_t count,
		  struct nb_firewall_list *ret)
{
	enum nb_passage *passages = calloc(search->sorted_count + 1, sizeof(*passages));
	size_t walked = 0, same;
	int r = 0;

	if (!passages)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < count; i += same) {
		for (same = 1; i + same < count; same++)
			if (strcmp(paths[i].bridge, paths[i + same].bridge) != 0)
				break;
		r = survey_bridge(search, &paths[i], same, &walked, passages);
	}
	for (size_t i = 0; r == 0 && i < search->sorted_count; i++)
		if (passages[i] != NB_PASSES_UNSEEN)
			r = list_chain(search, search->sorted[i], passages[i], ret);
	free(passages);
	return r;
}

int nb_firewall_overview(struct nb_netlink *nl, uint32_t mark, const struct nb_flow_path *paths,
			 size_t count, struct nb_firewall_list *ret)
{
	struct search search = { .nl = nl, .mark = mark };
	struct nb_error ignored;
	int r = count ? read_firewalls(&search, &ignored) : 0;

	memset(ret, 0, sizeof(*ret));
	if (r == 0)
		r = survey(&search, paths, count, ret);
	close_firewalls(&search);
	return r;
}

void nb_firewall_list_clear(struct nb_firewall_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		free(list->items[i].table);
		free(list->items[i].chain);
	}
	free(list->items);
	memset(list, 0, sizeof(*list));
}
