/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What concerns us in other owners' tables: their input chains, and their DNAT to 127/8. */
#ifndef NAT_BRIDGE_FOREIGN_H
#define NAT_BRIDGE_FOREIGN_H

#include <libnftnl/chain.h>
#include <libnftnl/table.h>

#include "../firewall/walk.h"
#include "nat-bridge/ruleset.h"

#ifndef NFT_TABLE_F_OWNER
#define NFT_TABLE_F_OWNER 0x2
#endif

struct nb_foreign_name {
	uint8_t family;
	char *table;
};

/* Tables and chains are fed first; then nb_foreign_read() asks for the rules. */
struct nb_foreign {
	struct nb_netlink *nl;
	uint32_t mark;
	struct nb_state *state;	       /* receives chains and dnats */
	struct nb_foreign_name *owned; /* tables that belong to a process */
	size_t owned_count;
	struct nb_foreign_name *dormant; /* tables that are switched off */
	size_t dormant_count;
	struct nb_chain_list chains; /* of IPv4; rules only of what input chains reach */
	struct nb_foreign_name *nat; /* tables with a nat chain in prerouting */
	size_t nat_count;
};

int nb_foreign_table(struct nb_foreign *foreign, const struct nftnl_table *table);
int nb_foreign_chain(struct nb_foreign *foreign, const struct nftnl_chain *chain);
int nb_foreign_read(struct nb_foreign *foreign, bool with_dnat, struct nb_error *err);
void nb_foreign_clear(struct nb_foreign *foreign);

/* Lists of tables: remember @table if it has this flag; is it in there; free all. */
int nb_foreign_remember(struct nb_foreign_name **list, size_t *count,
			const struct nftnl_table *table, uint32_t flag);
bool nb_foreign_is_in(const struct nb_foreign_name *list, size_t count, uint8_t family,
		      const char *table);
void nb_foreign_forget(struct nb_foreign_name *list, size_t count);

/* A table of iptables-nft. What stands in its own chains must be readable for iptables. */
bool nb_foreign_is_iptables(uint8_t family, const char *table);

/* Append the DNAT rules to 127/8 of one table to @state: plain ones, those of xtables, and maps. */
int nb_foreign_read_dnat(struct nb_netlink *nl, const struct nb_foreign_name *table,
			 struct nb_state *state, struct nb_error *err);

/* Dump the rules of one chain, or of a whole table with @chain NULL. */
int nb_foreign_dump_rules(struct nb_netlink *nl, uint8_t family, const char *table,
			  const char *chain, int (*callback)(const struct nlmsghdr *, void *),
			  void *data, struct nb_error *err);
/* Dump the elements of a set. One that has vanished is empty. */
int nb_foreign_dump_set(struct nb_netlink *nl, uint8_t family, const char *table, const char *set,
			int (*callback)(const struct nlmsghdr *, void *), void *data,
			struct nb_error *err);

#endif
