/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Members of others' sets, asked for one by one: a list of addresses to block may be long. */
#ifndef NAT_BRIDGE_FIREWALL_SETS_H
#define NAT_BRIDGE_FIREWALL_SETS_H

#include "nat-bridge/netlink.h"
#include "walk.h"

struct nb_set_reader {
	struct nb_netlink *nl;
	struct nb_chain_list *chains; /* a verdict map may name one whose rules are wanted then */
};

/* The look_up of a walk whose data is a struct nb_set_reader. */
void nb_set_look_up(void *data, const struct nb_chain *chain, const char *set,
		    const struct nb_key *key, struct nb_member *ret);

#endif
