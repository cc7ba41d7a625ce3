/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "nft_rules.h"

#include <libmnl/libmnl.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <stdlib.h>
#include <string.h>

#include "unit.h"

struct nftnl_expr *rule_add(struct nftnl_rule *rule, const char *name)
{
	struct nftnl_expr *expr = nftnl_expr_alloc(name);

	ck_assert_msg(expr != NULL, "%s", name);
	nftnl_rule_add_expr(rule, expr);
	return expr;
}

void rule_add_payload(struct nftnl_rule *rule, uint32_t base, uint32_t offset, uint32_t length)
{
	struct nftnl_expr *expr = rule_add(rule, "payload");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_BASE, base);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_LEN, length);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_DREG, NFT_REG_1);
}

void rule_add_meta(struct nftnl_rule *rule, uint32_t key)
{
	struct nftnl_expr *expr = rule_add(rule, "meta");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_META_KEY, key);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_META_DREG, NFT_REG_1);
}

void rule_add_bitwise(struct nftnl_rule *rule, uint32_t mask, uint32_t flip)
{
	struct nftnl_expr *expr = rule_add(rule, "bitwise");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_SREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_DREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_LEN, sizeof(mask));
	nftnl_expr_set(expr, NFTNL_EXPR_BITWISE_MASK, &mask, sizeof(mask));
	nftnl_expr_set(expr, NFTNL_EXPR_BITWISE_XOR, &flip, sizeof(flip));
}

void rule_add_compare(struct nftnl_rule *rule, uint32_t op, const void *data, size_t length)
{
	struct nftnl_expr *expr = rule_add(rule, "cmp");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_CMP_OP, op);
	nftnl_expr_set(expr, NFTNL_EXPR_CMP_DATA, data, (uint32_t)length);
}

void rule_add_match(struct nftnl_rule *rule, const char *name, uint32_t revision, const void *info,
		    size_t length)
{
	struct nftnl_expr *expr = rule_add(rule, "match");
	void *copy = malloc(length); /* the expression will own it */

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, info, length);
	nftnl_expr_set_str(expr, NFTNL_EXPR_MT_NAME, name);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_MT_REV, revision);
	nftnl_expr_set(expr, NFTNL_EXPR_MT_INFO, copy, (uint32_t)length);
}

void rule_add_target(struct nftnl_rule *rule, const char *name, uint32_t revision, const void *info,
		     size_t length)
{
	struct nftnl_expr *expr = rule_add(rule, "target");
	void *copy = malloc(length); /* the expression will own it */

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, info, length);
	nftnl_expr_set_str(expr, NFTNL_EXPR_TG_NAME, name);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_TG_REV, revision);
	nftnl_expr_set(expr, NFTNL_EXPR_TG_INFO, copy, (uint32_t)length);
}

void rule_add_verdict(struct nftnl_rule *rule, int verdict, const char *chain)
{
	struct nftnl_expr *expr = rule_add(rule, "immediate");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_VERDICT, (uint32_t)verdict);
	if (chain)
		nftnl_expr_set_str(expr, NFTNL_EXPR_IMM_CHAIN, chain);
}

void rule_set_comment(struct nftnl_rule *rule, const char *comment)
{
	struct nftnl_udata_buf *udata = nftnl_udata_buf_alloc(NFTNL_UDATA_COMMENT_MAXLEN);

	ck_assert_ptr_nonnull(udata);
	nftnl_udata_put_strz(udata, NFTNL_UDATA_RULE_COMMENT, comment);
	nftnl_rule_set_data(rule, NFTNL_RULE_USERDATA, nftnl_udata_buf_data(udata),
			    nftnl_udata_buf_len(udata));
	nftnl_udata_buf_free(udata);
}

struct nftnl_rule *rule_dumped(struct nftnl_rule *rule)
{
	static const char requested[] = "__set%d"; /* as long as the name that replaces it */
	char buffer[8192], name[sizeof(requested)];
	struct nlmsghdr *header = nftnl_nlmsg_build_hdr(buffer, NFT_MSG_NEWRULE, NFPROTO_INET, 0,
							0);
	struct nftnl_rule *dumped = nftnl_rule_alloc();
	unsigned int number = 10;
	char *at;

	ck_assert_ptr_nonnull(dumped);
	nftnl_rule_nlmsg_build_payload(header, rule);
	nftnl_rule_free(rule);
	while ((at = memmem(buffer, header->nlmsg_len, requested, sizeof(requested)))) {
		snprintf(name, sizeof(name), "__set%u", number++ % 100);
		memcpy(at, name, sizeof(name));
	}
	ck_assert_int_eq(nftnl_rule_nlmsg_parse(header, dumped), 0);
	return dumped;
}
