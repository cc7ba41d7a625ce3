/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Matches and targets of iptables, as iptables-nft puts them into rules. */
#ifndef NAT_BRIDGE_FIREWALL_XTABLES_H
#define NAT_BRIDGE_FIREWALL_XTABLES_H

#include "packet.h"

/* What a target does. */
enum nb_xt_effect {
	NB_XT_CONTINUES,
	NB_XT_ACCEPTS, /* ends the chain; so do translations */
	NB_XT_DROPS,
	NB_XT_MAY_DROP, /* hands it to somebody, or is not known */
	NB_XT_UNTRACKS,
	NB_XT_MARKS,		/* changes the packet's mark: *ret */
	NB_XT_MARKS_CONNECTION, /* the connection's */
};

enum nb_truth nb_xt_match(const struct nb_packet *packet, const char *name, uint32_t revision,
			  const void *info, size_t length);
enum nb_xt_effect nb_xt_target(const struct nb_packet *packet, const char *name, uint32_t revision,
			       const void *info, size_t length, struct nb_mark_change *ret);

#endif
