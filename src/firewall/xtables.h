/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Matches and targets of iptables, as iptables-nft puts them into rules. */
#ifndef NAT_BRIDGE_FIREWALL_XTABLES_H
#define NAT_BRIDGE_FIREWALL_XTABLES_H

#include <linux/netfilter/xt_connmark.h>

#include "divert.h"
#include "packet.h"

/* What a target does. */
enum nb_xt_effect {
	NB_XT_CONTINUES,
	NB_XT_ACCEPTS,	     /* ends the chain; so do translations */
	NB_XT_TRANSLATES,    /* the destination, which becomes ret->range */
	NB_XT_MAY_TRANSLATE, /* nobody knows to what */
	NB_XT_DROPS,
	NB_XT_MAY_DROP, /* hands it to somebody, or is not known */
	NB_XT_UNTRACKS,
	NB_XT_ZONES,		/* sets the zone in which answers are to ret->zone */
	NB_XT_MARKS,		/* changes the packet's mark: ret->mark */
	NB_XT_MARKS_CONNECTION, /* the connection's */
};

struct nb_xt_change {
	struct nb_mark_change mark;
	struct nb_nat_range range;
	uint16_t zone; /* 0 also if it is one for requests alone */
	bool zone_known;
};

/*
 * Read the data of CONNMARK, of revision 1 or 2, in which the mode stands at another place; false:
 * it is of none that is known.
 */
bool nb_xt_connmark(uint32_t revision, const void *info, size_t length,
		    struct xt_connmark_tginfo2 *ret);
/* Read the data of DNAT and REDIRECT, of any revision; false: it is of none that is known. */
bool nb_xt_nat_range(const void *info, size_t length, struct nb_nat_range *ret);

enum nb_truth nb_xt_match(const struct nb_packet *packet, const char *name, uint32_t revision,
			  const void *info, size_t length);
enum nb_xt_effect nb_xt_target(const struct nb_packet *packet, const char *name, uint32_t revision,
			       const void *info, size_t length, struct nb_xt_change *ret);

#endif
