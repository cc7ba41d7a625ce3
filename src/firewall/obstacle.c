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

#include "../ruleset/foreign.h"
#include "chains.h"
#include "clash.h"
#include "legacy.h"
#include "nat-bridge/firewall.h"
#include "nat-bridge/route.h"
#include "../ruleset/opener.h"
#include "program.h"
#include "sets.h"
#include "text.h"

#define TRANSLATES_AT  (NF_IP_PRI_NAT_DST - 10) /* chain `translate` */
#define ADMITS_LATE_AT (NF_IP_PRI_FILTER - 1)	/* chain `admit-late` */
#define BRIDGE_NF      "/proc/sys/net/bridge/bridge-nf-call-iptables"
/* Enough to act on; the next run shows what is left. */
#define MOST_OBSTACLES 20
#define CURE_SIZE      320
/* One by one, where anything may concern them: 10,000 rules of others are then 2 s. */
#define MOST_WALKED 2000

enum leg {
	LEG_NONE,
	LEG_ARRIVES,	/* before it is translated */
	LEG_TRANSLATED, /* before it is routed */
	LEG_ENTERS,
	LEG_ANSWERS,
	LEG_LEAVES, /* before it gets the address back that was dialled */
	LEG_COUNT,
};

struct search {
	struct nb_netlink *nl;
	uint32_t mark;
	struct nb_chain_list chains;
	struct nb_foreign_name *owned;
	size_t owned_count;
	const struct nb_chain **sorted; /* base chains, by priority */
	size_t sorted_count;
	bool bridge_nf; /* IPv4 hooks see a bridge's packets before its own later chains do */
	struct nb_warnings *warnings;
	char cures[MOST_OBSTACLES][CURE_SIZE]; /* that were told */
	size_t told;
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
	if (nftnl_table_nlmsg_parse(message, table) == 0)
		r = nb_foreign_remember_owned(&search->owned, &search->owned_count, table);
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
	    (family == NFPROTO_INET && strcmp(table, NB_TABLE_NAME) == 0))
		goto out;
	r = nb_chains_add(&search->chains, chain,
			  nb_foreign_is_owned(search->owned, search->owned_count, family, table));
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

static int by_priority(const void *a, const void *b)
{
	const struct nb_chain *first = *(const struct nb_chain *const *)a;
	const struct nb_chain *second = *(const struct nb_chain *const *)b;

	if (first->priority != second->priority)
		return first->priority < second->priority ? -1 : 1;
	return first < second ? -1 : first > second;
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
		r = nb_chains_load(search->nl, &search->chains, i, err);
	}
	qsort(search->sorted, search->sorted_count, sizeof(*search->sorted), by_priority);
	search->bridge_nf = read_flag(BRIDGE_NF);
	return r;
}

/* --- The way --- */

/* On which stretch does this chain see packets of the mapping? */
static enum leg find_leg(const struct search *search, const struct nb_chain *chain,
			 const struct nb_flow_path *path)
{
	if (chain->device[0]) /* the ingress of one device */
		return chain->hook != NF_INET_LOCAL_IN && strcmp(chain->device, path->bridge) == 0
			       ? LEG_ARRIVES
			       : LEG_NONE;
	if (chain->family == NFPROTO_NETDEV)
		return LEG_NONE;
	switch (chain->hook) {
	case NF_INET_PRE_ROUTING:
		if (chain->family == NFPROTO_BRIDGE)
			return search->bridge_nf && chain->priority > 0 ? LEG_TRANSLATED
									: LEG_ARRIVES;
		/* who translates first takes it; ours is said to come first, see hijacks */
		if (strcmp(chain->type, "nat") == 0)
			return LEG_NONE;
		return chain->priority < TRANSLATES_AT ? LEG_ARRIVES : LEG_TRANSLATED;
	case NF_INET_LOCAL_IN:
		if (chain->family == NFPROTO_BRIDGE)
			return search->bridge_nf ? LEG_TRANSLATED : LEG_ARRIVES;
		return LEG_ENTERS;
	case NF_INET_LOCAL_OUT:
	case NF_INET_POST_ROUTING:
		/* a bridge's own chains see it with the address that was dialled */
		if (chain->family == NFPROTO_BRIDGE || strcmp(chain->type, "nat") == 0)
			return LEG_NONE;
		if (chain->hook == NF_INET_LOCAL_OUT)
			return LEG_ANSWERS;
		return chain->priority < NF_IP_PRI_NAT_SRC ? LEG_LEAVES : LEG_NONE;
	}
	return LEG_NONE;
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
	if (chain->family == NFPROTO_BRIDGE || chain->device[0] ||
	    (!translated && chain->priority <= NF_IP_PRI_CONNTRACK))
		return;
	packet->ct_state = NF_CT_STATE_BIT(IP_CT_NEW);
	packet->ct_state_known = UINT32_MAX;
	packet->ct_direction = IP_CT_DIR_ORIGINAL;
	packet->ct_status = translated ? IPS_DST_NAT : 0;
	packet->ct_status_known = IPS_DST_NAT;
}

static void make_answer(struct nb_packet *packet, const struct nb_flow_path *path,
			const struct nb_chain *chain)
{
	set_device(&packet->out, path);
	packet->in.known = true; /* there is none */
	packet->source_type = RTN_LOCAL;
	packet->destination_type = RTN_UNICAST;
	nb_packet_set_source(packet, path->target.address, path->port ? 32 : 8);
	if (path->port)
		nb_packet_set_source_port(packet, path->target.port);
	if (chain->hook == NF_INET_LOCAL_OUT && chain->priority <= NF_IP_PRI_CONNTRACK)
		return;
	packet->ct_state = NF_CT_STATE_BIT(IP_CT_ESTABLISHED);
	packet->ct_state_known = UINT32_MAX;
	packet->ct_direction = IP_CT_DIR_REPLY;
	packet->ct_status = packet->ct_status_known = IPS_DST_NAT | IPS_SEEN_REPLY | IPS_CONFIRMED;
}

static void make_packet(struct nb_packet *packet, const struct search *search,
			const struct nb_flow_path *path, enum leg leg, const struct nb_chain *chain)
{
	uint32_t mark = packet->mark, known = packet->mark_known;

	nb_packet_init(packet, chain->family);
	if (path->protocol)
		nb_packet_set_protocol(packet, path->protocol);
	packet->ct_dialled = path->port;
	if (leg == LEG_ANSWERS || leg == LEG_LEAVES) {
		make_answer(packet, path, chain);
		nb_packet_set_destination(packet, search->network.address, search->network.length);
	} else {
		make_request(packet, path, chain, leg != LEG_ARRIVES);
		nb_packet_set_source(packet, search->network.address, search->network.length);
	}
	packet->mark = mark;
	packet->mark_known = known;
}

/* --- Telling --- */

static const char *family_name(uint8_t family)
{
	switch (family) {
	case NFPROTO_INET:
		return "inet";
	case NFPROTO_BRIDGE:
		return "bridge";
	case NFPROTO_NETDEV:
		return "netdev";
	}
	return "ip";
}

void nb_place_text(const struct nb_place *place, char *buffer, size_t size)
{
	const struct nb_chain *chain = place->chain;
	char rule[256];

	if (chain->legacy && place->rule)
		snprintf(buffer, size, "rule %zu of iptables-legacy's chain %s in table %s (%s)",
			 place->position + 1, chain->name, chain->table,
			 nb_rule_text(place->rule, rule, sizeof(rule)));
	else if (chain->legacy)
		snprintf(buffer, size, "the policy of iptables-legacy's chain %s in table %s",
			 chain->name, chain->table);
	else if (place->rule)
		snprintf(buffer, size, "rule %llu of chain %s %s %s (%s)",
			 (unsigned long long)nftnl_rule_get_u64(place->rule, NFTNL_RULE_HANDLE),
			 family_name(chain->family), chain->table, chain->name,
			 nb_rule_text(place->rule, rule, sizeof(rule)));
	else
		snprintf(buffer, size, "the policy of chain %s %s %s", family_name(chain->family),
			 chain->table, chain->name);
}

/* What lets these packets through at the head of @base; its own rules stay for all others. */
static void word_cure(const struct search *search, const struct nb_flow_path *path, enum leg leg,
		      const struct nb_chain *base, char *buffer, size_t size)
{
	const char *protocol = nb_protocol_name(path->protocol);
	bool answers = leg == LEG_ANSWERS || leg == LEG_LEAVES;
	bool tracked = base->priority > NF_IP_PRI_CONNTRACK;
	char match[160];

	/* which stands in panic mode, and for a moment of a reload */
	if (strcmp(base->table, "firewalld_policy_drop") == 0) {
		snprintf(buffer, size, "firewall-cmd --panic-off");
		return;
	}
	if (strcmp(base->table, "firewalld") == 0) {
		snprintf(buffer, size, "firewall-cmd --add-forward-port=port=%u:proto=%s:toport=%u",
			 path->port, protocol, path->target.port);
		return;
	}
	if (base->owned) {
		snprintf(buffer, size,
			 "make the program that owns table %s %s accept 'ct status dnat' there",
			 family_name(base->family), base->table);
		return;
	}
	if (base->legacy && leg == LEG_ENTERS) {
		/* the opener; netlink does not reach it, so somebody has to type it */
		snprintf(buffer, size,
			 "iptables-legacy -w -t %s -I INPUT 1 -d 127.0.0.0/8 -m mark --mark "
			 "0x%x/0x%x -m comment --comment nat-bridge -j ACCEPT",
			 base->table, search->mark, search->mark);
		return;
	}
	if (nb_chain_is_iptables(base)) {
		if (leg == LEG_ARRIVES)
			snprintf(match, sizeof(match), "-i %s -p %s --dport %u", path->bridge,
				 protocol, path->port);
		else
			snprintf(match, sizeof(match), "%s %s %s 127.0.0.0/8%s",
				 answers ? "-o" : "-i", path->bridge, answers ? "-s" : "-d",
				 tracked ? " -m conntrack --ctstate DNAT" : "");
		snprintf(buffer, size, "iptables-%s -w -t %s -I %s %s -j ACCEPT",
			 base->legacy ? "legacy" : "nft", base->table, base->name, match);
		return;
	}
	if (base->family == NFPROTO_BRIDGE)
		snprintf(match, sizeof(match), "%s%s dport %u",
			 leg == LEG_ARRIVES ? "" : "ip daddr 127.0.0.0/8 ", protocol,
			 (unsigned int)(leg == LEG_ARRIVES ? path->port : path->target.port));
	else if (leg == LEG_ARRIVES)
		snprintf(match, sizeof(match), "iifname %s %s dport %u", path->bridge, protocol,
			 path->port);
	else
		snprintf(match, sizeof(match), "%s %s ip %s 127.0.0.0/8%s",
			 answers ? "oifname" : "iifname", path->bridge, answers ? "saddr" : "daddr",
			 tracked ? " ct status dnat" : "");
	snprintf(buffer, size, "nft insert rule %s %s %s %s accept", family_name(base->family),
		 base->table, base->name, match);
}

enum trouble { DROPPED, MAY_BE_DROPPED, UNTRACKED, REMARKED };

/* One command may mend it for many mappings; it is told once. */
static bool is_told(const struct search *search, const char *cure)
{
	for (size_t i = 0; i < search->told; i++)
		if (strcmp(search->cures[i], cure) == 0)
			return true;
	return false;
}

static void tell(struct search *search, const struct nb_flow_path *path, enum leg leg,
		 enum trouble trouble, const struct nb_place *place, const struct nb_chain *base)
{
	static const char *const words[] = {
		[DROPPED] = "are dropped by",
		[MAY_BE_DROPPED] = "may be dropped by",
		[UNTRACKED] = "are not tracked, and so not translated, because of",
		[REMARKED] = "lose their mark, and are dropped behind that, by",
	};
	char where[512], cure[CURE_SIZE], what[96], target[NB_TARGET_SIZE];

	word_cure(search, path, leg, base, cure, sizeof(cure));
	if (search->told == MOST_OBSTACLES || is_told(search, cure))
		return;
	nb_target_format(&path->target, target);
	if (leg == LEG_ANSWERS || leg == LEG_LEAVES)
		snprintf(what, sizeof(what), "answers from %s to %s", target, path->bridge);
	else
		snprintf(what, sizeof(what), "packets from %s to %u/%s", path->bridge, path->port,
			 nb_protocol_name(path->protocol));
	nb_place_text(place, where, sizeof(where));
	nb_warn(search->warnings, "%s %s %s: %s", what, words[trouble], where, cure);
	strcpy(search->cures[search->told++], cure);
}

/* --- Walking --- */

/* One stretch of the way, for packets of which more or less is known. */
struct stretch {
	struct search *search;
	const struct nb_flow_path *path;
	enum leg leg;
	struct nb_walk walk;
	const struct nb_chain *remarks; /* where the mark was lost */
	bool may_fail;			/* some packet of the kind may not get through */
	bool failed;			/* none does, and it was told */
};

static void fail(struct stretch *stretch, enum trouble trouble, const struct nb_place *place,
		 const struct nb_chain *base)
{
	stretch->may_fail = stretch->failed = true;
	if (stretch->path->port)
		tell(stretch->search, stretch->path, stretch->leg, trouble, place, base);
}

static void walk_one(struct stretch *stretch, const struct nb_chain *chain)
{
	struct nb_walk *walk = &stretch->walk;
	uint32_t ours = stretch->search->mark, mark = walk->packet.mark;
	uint32_t known = walk->packet.mark_known;
	/* the opener at its head lets them pass before they come to any rule */
	bool opens = stretch->leg == LEG_ENTERS && (mark & known & ours) == ours;
	bool opened = opens && !chain->owned && !chain->legacy;

	make_packet(&walk->packet, stretch->search, stretch->path, stretch->leg, chain);
	nb_walk_chain(walk, chain, chain->count);
	if (opened && walk->outcomes & NB_OUTCOME_DROP) {
		walk->packet.mark = mark;
		walk->packet.mark_known = known;
		walk->remarked.chain = stretch->remarks ? walk->remarked.chain : NULL;
		return;
	}
	if (walk->remarked.chain && !stretch->remarks)
		stretch->remarks = chain;
	/* it has an effect only before connection tracking */
	if (chain->priority >= NF_IP_PRI_CONNTRACK)
		walk->is_untracked = NB_NO;
	stretch->may_fail |= walk->is_untracked != NB_NO || walk->outcomes & NB_OUTCOME_DROP;
	if (opens && walk->outcomes & NB_OUTCOME_DROP) {
		/* an opener would stand here if it could; behind it others are looked at, too */
		fail(stretch, walk->outcomes == NB_OUTCOME_DROP ? DROPPED : MAY_BE_DROPPED,
		     &walk->drop, chain);
		stretch->failed = false;
		return;
	}
	if (walk->is_untracked == NB_YES)
		fail(stretch, UNTRACKED, &walk->untracked, chain);
	else if (walk->outcomes == NB_OUTCOME_DROP && stretch->remarks && stretch->remarks != chain)
		fail(stretch, REMARKED, &walk->remarked, stretch->remarks);
	else if (walk->outcomes == NB_OUTCOME_DROP)
		fail(stretch, DROPPED, &walk->drop, chain);
}

/* What is found first is told, for behind that nothing comes. */
static bool walk_leg(struct search *search, const struct nb_flow_path *path, enum leg leg)
{
	struct nb_set_reader sets = { .nl = search->nl, .chains = &search->chains };
	struct stretch stretch = {
		.search = search,
		.path = path,
		.leg = leg,
		.walk = {
			.chains = &search->chains,
			.look_up = nb_set_look_up,
			.data = &sets,
			.guarded = leg == LEG_ENTERS ? search->mark : 0,
			.packet = {
				.mark = leg == LEG_ENTERS ? search->mark : 0,
				.mark_known = UINT32_MAX,
			},
		},
	};
	bool admitted_late = false;

	for (size_t i = 0; i < search->sorted_count && !stretch.failed; i++) {
		const struct nb_chain *chain = search->sorted[i];

		if (find_leg(search, chain, path) != leg)
			continue;
		if (leg == LEG_ENTERS && !admitted_late && chain->priority > ADMITS_LATE_AT) {
			nb_packet_write_mark(&stretch.walk.packet, search->mark, search->mark);
			stretch.walk.remarked.chain = stretch.remarks = NULL;
			admitted_late = true;
		}
		walk_one(&stretch, chain);
	}
	return stretch.may_fail;
}

static bool walk_path(struct search *search, const struct nb_flow_path *path)
{
	bool may_fail = false;

	for (int leg = LEG_ARRIVES; leg < LEG_COUNT; leg++)
		may_fail |= walk_leg(search, path, (enum leg)leg);
	return may_fail;
}

/* Is there anything that may concern a mapping of this bridge, whichever? */
static bool may_concern(struct search *search, const struct nb_flow_path *path)
{
	struct nb_flow_path any = { .index = path->index, .target.address = INADDR_LOOPBACK };

	memcpy(any.bridge, path->bridge, sizeof(any.bridge));
	return walk_path(search, &any);
}

static void advise_reverse_path(struct search *search, const struct nb_flow_path *path)
{
	struct nb_error ignored;

	if (nb_route_network(search->nl, path->index, &search->network, &ignored) < 0 ||
	    search->network.length == 0 ||
	    nb_route_accepts(search->nl, path->index, &search->network, &ignored) != 0)
		return;
	nb_warn(search->warnings,
		"the reverse path filter drops what comes from %s: the route back to its network "
		"goes "
		"another way (sysctl -w net.ipv4.conf.%s.rp_filter=0 "
		"net.ipv4.conf.all.rp_filter=0, or "
		"mend the route)",
		path->bridge, path->bridge);
	search->told++;
}

static void close_firewalls(struct search *search)
{
	free(search->sorted);
	nb_foreign_forget(search->owned, search->owned_count);
	nb_chain_list_clear(&search->chains);
}

int nb_firewall_advise(struct nb_netlink *nl, uint32_t mark, const struct nb_flow_path *paths,
		       size_t count, struct nb_warnings *warnings, struct nb_error *err)
{
	struct search search = { .nl = nl, .mark = mark, .warnings = warnings };
	int r = count ? read_firewalls(&search, err) : 0;
	bool concerned = false;
	size_t walked = 0;

	for (size_t i = 0; r == 0 && i < count && search.told < MOST_OBSTACLES; i++) {
		if (i == 0 || strcmp(paths[i].bridge, paths[i - 1].bridge) != 0) {
			advise_reverse_path(&search, &paths[i]);
			concerned = may_concern(&search, &paths[i]);
		}
		if (concerned && walked++ < MOST_WALKED)
			walk_path(&search, &paths[i]);
	}
	if (r == 0 && count)
		nb_clash_advise(&search.chains, mark, warnings);
	close_firewalls(&search);
	return r == -ENOMEM ? r : 0;
}

/* --- The overview --- */

/* What a chain does to the packets of one mapping, whatever other chains did before. */
static enum nb_passage judge_chain(const struct nb_walk *walk, const struct nb_chain *chain)
{
	enum nb_truth untracked = chain->priority < NF_IP_PRI_CONNTRACK ? walk->is_untracked
									: NB_NO;

	if (untracked == NB_YES || walk->outcomes == NB_OUTCOME_DROP)
		return NB_PASSES_NOT;
	if (untracked == NB_MAYBE || walk->outcomes & NB_OUTCOME_DROP)
		return NB_PASSES_PERHAPS;
	return NB_PASSES;
}

/* @passages, by the order of search->sorted, get what is worse. */
static void survey_leg(struct search *search, const struct nb_flow_path *path, enum leg leg,
		       enum nb_passage *passages)
{
	struct nb_set_reader sets = { .nl = search->nl, .chains = &search->chains };
	uint32_t mark = leg == LEG_ENTERS ? search->mark : 0;

	for (size_t i = 0; i < search->sorted_count; i++) {
		const struct nb_chain *chain = search->sorted[i];
		struct nb_walk walk = {
			.chains = &search->chains,
			.look_up = nb_set_look_up,
			.data = &sets,
			.packet = { .mark = mark, .mark_known = UINT32_MAX },
		};
		enum nb_passage passage;

		if (find_leg(search, chain, path) != leg)
			continue;
		make_packet(&walk.packet, search, path, leg, chain);
		nb_walk_chain(&walk, chain, chain->count);
		passage = judge_chain(&walk, chain);
		if (passage > passages[i])
			passages[i] = passage;
	}
}

/* Does every chain let all of it through? */
static bool survey_path(struct search *search, const struct nb_flow_path *path,
			enum nb_passage *passages)
{
	bool passes = true;

	for (int leg = LEG_ARRIVES; leg < LEG_COUNT; leg++)
		survey_leg(search, path, (enum leg)leg, passages);
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

	if (chain->device[0])
		return "ingress";
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
		.family = family_name(chain->family),
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
