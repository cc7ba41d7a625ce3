/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The statements of which our rules are made: each has its nft text and its
 * netlink expressions in one place, so that what a dry run prints, what is
 * sent and what is recognised cannot drift apart.
 */
#ifndef NAT_BRIDGE_STATEMENT_H
#define NAT_BRIDGE_STATEMENT_H

#include <libnftnl/rule.h>
#include <stdint.h>
#include <stdio.h>

enum nb_statement {
	NB_END, /* ends a rule */
	NB_IPV4,
	NB_DADDR_LOOPBACK,
	NB_SADDR_LOOPBACK,
	NB_IIF_MANAGED,
	NB_IIF_NOT_LO,
	NB_OIF_MANAGED,
	NB_FIB_LOCAL,
	NB_FIB_SPOOFED,
	NB_L4_TCP,
	NB_L4_NOT_UDP,
	NB_L4_ICMP,
	NB_L4_TCP_UDP,
	NB_ACCEPTED_IN,
	NB_ACCEPTED_OUT,
	NB_CT_DNAT,
	NB_CT_RELATED,
	NB_CT_ORIGINAL,
	NB_CT_REPLY,
	NB_MARKED,
	NB_MARK_SET,
	NB_MARK_CLEAR,
	NB_MARKED_XT, /* as iptables says it */
	NB_COUNTER,
	NB_TRANSLATE,
	NB_JUMP_TRANSLATED,
	NB_JUMP_MAPPED,
	NB_JUMP_ANSWERS,
	NB_ACCEPT,
	NB_DROP,
	NB_STATEMENT_COUNT,
};

/* Set IDs inside one transaction. */
enum nb_set_id {
	NB_SET_ID_BRIDGES = 1,
	NB_SET_ID_TARGETS,
	NB_SET_ID_ACCEPTED,
	NB_SET_ID_ANONYMOUS, /* and the following ones: one for each rule that needs it */
};

#define NB_SET_BRIDGES	"bridges"
#define NB_SET_TARGETS	"targets"
#define NB_SET_ACCEPTED "accepted"

/* Append the expressions of @statements to @rule. Returns 0 or -ENOMEM. */
int nb_statements_build(struct nftnl_rule *rule, uint8_t family, uint32_t mark,
			const enum nb_statement *statements, uint32_t anonymous_set_id);
/* Print them as nft does. */
void nb_statements_print(FILE *out, uint32_t mark, const enum nb_statement *statements);

#endif
