/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Obstacles in words: where they stand, what mends them, and a line that says both. */
#include "tell.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../model/text.h"
#include "../ruleset/foreign.h"
#include "program.h"
#include "text.h"

const char *nb_family_name(uint8_t family)
{
	switch (family) {
	case NFPROTO_ARP:
		return "arp";
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
			 nb_family_name(chain->family), chain->table, chain->name,
			 nb_rule_text(place->rule, rule, sizeof(rule)));
	else
		snprintf(buffer, size, "the policy of chain %s %s %s",
			 nb_family_name(chain->family), chain->table, chain->name);
}

/*
 * A device's name for nft, through a shell. A word of nft's grammar ("bridge", "0br") is none to
 * it without quotes; no word of it has a letter first and a hyphen somewhere.
 */
static const char *quote(const char *name, char *buffer, size_t size)
{
	char first = (char)(name[0] | 0x20);

	if (first >= 'a' && first <= 'z' && strchr(name, '-'))
		return name;
	snprintf(buffer, size, "'\"%s\"'", name);
	return buffer;
}

void nb_obstacle_cure(const struct nb_flow_path *path, enum nb_leg leg, const struct nb_chain *base,
		      uint32_t mark, char *buffer, size_t size)
{
	const char *protocol = nb_protocol_name(path->protocol);
	bool answers = leg >= NB_LEG_ANSWERS;
	bool tracked = base->priority > NF_IP_PRI_CONNTRACK;
	char match[160], quoted[NB_IFNAME_SIZE + 4];
	const char *bridge = quote(path->bridge, quoted, sizeof(quoted));

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
			 nb_family_name(base->family), base->table);
		return;
	}
	if (!nb_is_plain_word(path->bridge) || !nb_is_plain_word(base->table) ||
	    !nb_is_plain_word(base->name)) {
		snprintf(buffer, size,
			 "let the packets of mappings pass that chain (a name has characters in it "
			 "that are none to type into a shell)");
		return;
	}
	if (base->legacy && leg == NB_LEG_ENTERS) {
		/* the opener; netlink does not reach it, so somebody has to type it */
		snprintf(buffer, size,
			 "iptables-legacy -w -t %s -I INPUT 1 -d 127.0.0.0/8 -m mark --mark "
			 "0x%x/0x%x -m comment --comment nat-bridge -j ACCEPT",
			 base->table, mark, mark);
		return;
	}
	if (nb_chain_is_iptables(base)) {
		if (leg == NB_LEG_ARRIVES)
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
	if (leg == NB_LEG_RETURNS && (base->family == NFPROTO_BRIDGE || base->egress))
		snprintf(match, sizeof(match), "%s sport %u", protocol, path->port);
	else if (leg == NB_LEG_RETURNS)
		snprintf(match, sizeof(match), "oifname %s %s sport %u", bridge, protocol,
			 path->port);
	else if (base->family == NFPROTO_BRIDGE || (base->device_count && leg == NB_LEG_TRANSLATED))
		snprintf(match, sizeof(match), "%s%s dport %u",
			 leg == NB_LEG_ARRIVES ? "" : "ip daddr 127.0.0.0/8 ", protocol,
			 (unsigned int)(leg == NB_LEG_ARRIVES ? path->port : path->target.port));
	else if (leg == NB_LEG_ARRIVES)
		snprintf(match, sizeof(match), "iifname %s %s dport %u", bridge, protocol,
			 path->port);
	else
		snprintf(match, sizeof(match), "%s %s ip %s 127.0.0.0/8%s",
			 answers ? "oifname" : "iifname", bridge, answers ? "saddr" : "daddr",
			 tracked ? " ct status dnat" : "");
	snprintf(buffer, size, "nft insert rule %s %s %s %s accept", nb_family_name(base->family),
		 base->table, base->name, match);
}

void nb_obstacle_at(struct nb_obstacle *obstacle, const struct nb_place *place)
{
	const struct nb_chain *chain = place->chain;

	obstacle->family = chain->family;
	obstacle->legacy = chain->legacy;
	obstacle->owned |= chain->owned;
	snprintf(obstacle->table, sizeof(obstacle->table), "%s", chain->table);
	snprintf(obstacle->chain, sizeof(obstacle->chain), "%s", chain->name);
	if (place->rule) {
		obstacle->handle = chain->legacy
					   ? place->position + 1
					   : nftnl_rule_get_u64(place->rule, NFTNL_RULE_HANDLE);
		nb_rule_text(place->rule, obstacle->rule, sizeof(obstacle->rule));
	}
	nb_place_text(place, obstacle->where, sizeof(obstacle->where));
}

int nb_obstacle_append(struct nb_obstacle_list *list, const struct nb_obstacle *obstacle)
{
	struct nb_obstacle *grown = reallocarray(list->items, list->count + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	list->items = grown;
	grown[list->count++] = *obstacle;
	return 0;
}

void nb_obstacle_list_clear(struct nb_obstacle_list *list)
{
	free(list->items);
	memset(list, 0, sizeof(*list));
}

/* "bit", or "bits" */
static const char *word_bits(uint32_t mark)
{
	return mark & (mark - 1) ? "bits" : "bit";
}

static void word_clash(const struct nb_obstacle *obstacle, char *buffer, size_t size)
{
	char more[40] = "";

	if (obstacle->more)
		snprintf(more, sizeof(more), " (and %zu more)", obstacle->more);
	if (obstacle->whole)
		snprintf(buffer, size,
			 "%s%s asks for the whole packet mark, and does something else to packets "
			 "of mappings because they have nat-bridge's %s 0x%x in it",
			 obstacle->where, more, word_bits(obstacle->mark), obstacle->mark);
	else
		snprintf(buffer, size,
			 "%s 0x%x of the packet mark, which nat-bridge sets on packets of mappings "
			 "and clears on all others to 127.0.0.0/8, is used by %s, which %s%s",
			 word_bits(obstacle->mark), obstacle->mark, obstacle->where, obstacle->use,
			 more);
}

char *nb_obstacle_what(const struct nb_obstacle *obstacle, char *buffer, size_t size)
{
	static const char *const words[] = {
		[NB_OBSTACLE_DROPS] = "are dropped by",
		[NB_OBSTACLE_MAY_DROP] = "may be dropped by",
		[NB_OBSTACLE_UNTRACKS] = "are not tracked, and so not translated, because of",
		[NB_OBSTACLE_ZONES] = ("are tracked in another zone than their answers, which are "
				       "not translated back, because of"),
		[NB_OBSTACLE_DIVERTS] = "are rewritten by",
		[NB_OBSTACLE_REMARKS] = "lose their mark, and are dropped behind that, by",
	};
	const struct nb_flow_path *path = &obstacle->path;
	char target[NB_TARGET_SIZE];

	if (obstacle->kind == NB_OBSTACLE_REVERSE_PATH)
		snprintf(buffer, size,
			 "the reverse path filter drops what comes from %s: the route back to its "
			 "network goes another way",
			 path->bridge);
	else if (obstacle->kind == NB_OBSTACLE_CLASHES)
		word_clash(obstacle, buffer, size);
	else if (obstacle->kind == NB_OBSTACLE_DIVERTS && obstacle->diverted_to.address)
		snprintf(buffer, size, "packets from %s to %u/%s are sent to %s by %s",
			 path->bridge, path->port, nb_protocol_name(path->protocol),
			 nb_target_format(&obstacle->diverted_to, target), obstacle->where);
	else if (obstacle->kind == NB_OBSTACLE_DIVERTS && obstacle->diverted_to.port)
		snprintf(buffer, size, "packets from %s to %u/%s are sent to port %u by %s",
			 path->bridge, path->port, nb_protocol_name(path->protocol),
			 obstacle->diverted_to.port, obstacle->where);
	else if (obstacle->answers)
		snprintf(buffer, size, "answers from %s to %s %s %s",
			 nb_target_format(&path->target, target), path->bridge,
			 obstacle->kind == NB_OBSTACLE_ZONES
				 ? "are tracked in another zone than what they answer, and not "
				   "translated back, because of"
				 : words[obstacle->kind],
			 obstacle->where);
	else
		snprintf(buffer, size, "packets from %s to %u/%s %s %s", path->bridge, path->port,
			 nb_protocol_name(path->protocol), words[obstacle->kind], obstacle->where);
	return buffer;
}

char *nb_obstacle_text(const struct nb_obstacle *obstacle, char *buffer, size_t size)
{
	char what[NB_OBSTACLE_TEXT - NB_OBSTACLE_CURE - 32];

	nb_obstacle_what(obstacle, what, sizeof(what));
	if (obstacle->kind == NB_OBSTACLE_REVERSE_PATH)
		snprintf(buffer, size, "%s (%s, or mend the route)", what, obstacle->cure);
	else
		snprintf(buffer, size, "%s: %s", what, obstacle->cure);
	return buffer;
}
