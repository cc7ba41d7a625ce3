/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tables of iptables-legacy, which netlink does not show: their chains and rules in the
 * form of nf_tables, as iptables-nft would write them.
 */
#ifndef NAT_BRIDGE_FIREWALL_LEGACY_H
#define NAT_BRIDGE_FIREWALL_LEGACY_H

#include <linux/netfilter_ipv4/ip_tables.h>

#include "walk.h"

/*
 * Append the chains of every table that the kernel has, with their rules. A table that nobody
 * uses is not asked for: that would make it, and load its modules. What cannot be read is left
 * out. Returns 0 or -ENOMEM.
 */
int nb_legacy_read(struct nb_chain_list *list);

/*
 * Append the chains of one table from what the kernel gave for it. -EINVAL: its entries are
 * not what they should be.
 */
int nb_legacy_parse(struct nb_chain_list *list, const struct ipt_getinfo *info,
		    const void *entries);

#endif
