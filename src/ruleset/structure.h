/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Is a table that the kernel shows the table of our schema, rule for rule? */
#ifndef NAT_BRIDGE_STRUCTURE_H
#define NAT_BRIDGE_STRUCTURE_H

#include <libnftnl/chain.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>

#include "nat-bridge/ruleset.h"

/* What has been seen of our table. Zero-initialise, feed, then ask for the verdict. */
struct nb_structure {
	char *damage;
	size_t damage_size;
	uint32_t mark;
	bool chains_seen[16];
	bool sets_seen[4];
	size_t rules_seen[16];
	size_t anonymous_sets;
	/* names of the anonymous sets that sound rules look into */
	char anonymous[8][32];
	size_t anonymous_count;
};

void nb_structure_chain(struct nb_structure *structure, const struct nftnl_chain *chain);
void nb_structure_set(struct nb_structure *structure, const struct nftnl_set *set);
void nb_structure_rule(struct nb_structure *structure, const struct nftnl_rule *rule);
/* A rule of the table that libnftnl cannot read: none of ours. */
void nb_structure_unreadable(struct nb_structure *structure);
/* The elements of an anonymous set, one at a time and at its end. */
void nb_structure_anonymous(struct nb_structure *structure, const uint8_t *protocols, size_t count);
/* Everything was fed: true if the table is sound, else the damage is worded. */
bool nb_structure_is_sound(struct nb_structure *structure);

#endif
