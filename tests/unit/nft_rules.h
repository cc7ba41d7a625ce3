/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rules made by hand, one expression at a time; everything loads register 1. */
#ifndef NAT_BRIDGE_UNIT_NFT_RULES_H
#define NAT_BRIDGE_UNIT_NFT_RULES_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>

/* An expression of that name at the end of @rule. */
struct nftnl_expr *rule_add(struct nftnl_rule *rule, const char *name);

void rule_add_payload(struct nftnl_rule *rule, uint32_t base, uint32_t offset, uint32_t length);
void rule_add_meta(struct nftnl_rule *rule, uint32_t key);
void rule_add_bitwise(struct nftnl_rule *rule, uint32_t mask, uint32_t flip);
void rule_add_compare(struct nftnl_rule *rule, uint32_t op, const void *data, size_t length);
/* An xt match with a copy of @info. */
void rule_add_match(struct nftnl_rule *rule, const char *name, uint32_t revision, const void *info,
		    size_t length);
void rule_add_target(struct nftnl_rule *rule, const char *name, uint32_t revision, const void *info,
		     size_t length);
void rule_add_verdict(struct nftnl_rule *rule, int verdict, const char *chain);
/* The comment as nft keeps it, in the rule's userdata. */
void rule_set_comment(struct nftnl_rule *rule, const char *comment);

/*
 * @rule as a dump of the kernel gives it back; consumes @rule. The n-th
 * anonymous set that it looks into is named as the kernel would, "__set10"
 * and on.
 */
struct nftnl_rule *rule_dumped(struct nftnl_rule *rule);

#endif
