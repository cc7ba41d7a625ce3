/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The opener: the one accept rule that we keep in another firewall's input
 * chain. It never changes with the mappings, and it fails closed: without our table
 * nothing carries the mark.
 */
#ifndef NAT_BRIDGE_OPENER_H
#define NAT_BRIDGE_OPENER_H

#include <libnftnl/rule.h>

#include "nat-bridge/ruleset.h"
#include "statement.h"

#define NB_OPENER_COMMENT "nat-bridge"

/* The statements of the opener for @chain. */
const enum nb_statement *nb_opener_statements(const struct nb_input_chain *chain);
/* Fill @rule, whose table, chain and family are set. */
int nb_opener_build(struct nftnl_rule *rule, const struct nb_input_chain *chain, uint32_t mark);

/*
 * Is @rule an opener, in our encoding or in one that iptables-restore or
 * nft -f made of it? Then *@ret_mark is the mark that it looks for.
 */
bool nb_opener_recognise(const struct nftnl_rule *rule, uint32_t *ret_mark);

#endif
