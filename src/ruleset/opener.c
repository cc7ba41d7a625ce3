/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Openers: how they are encoded for whom, and how they are found again.
 *
 * iptables-nft reads a rule back expression by expression. What it does not
 * know it drops silently or refuses the whole table, and which ones it knows depends on its
 * version. The one encoding that 1.8.4 to 1.8.11 print, save and delete
 * alike is the one that iptables 1.8.4 itself makes: a masked address compare
 * and an xt match. A save and restore turns our comment into an xt match, and newer
 * versions turn the others into native expressions, so recognition reads meaning,
 * not bytes.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <libnftnl/expr.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/xt_comment.h>
#include <linux/netfilter/xt_mark.h>

#include "opener.h"
#include "userdata.h"

#define IP_DADDR_OFFSET 16

const enum nb_statement *nb_opener_statements(const struct nb_input_chain *chain)
{
	static const enum nb_statement native[] = { NB_DADDR_LOOPBACK, NB_MARKED, NB_ACCEPT,
						    NB_END };
	static const enum nb_statement inet[] = { NB_IPV4, NB_DADDR_LOOPBACK, NB_MARKED, NB_ACCEPT,
						  NB_END };
	static const enum nb_statement xt[] = { NB_MARKED_XT, NB_COUNTER, NB_ACCEPT, NB_END };

	if (chain->iptables)
		return xt;
	return chain->family == NFPROTO_INET ? inet : native;
}

int nb_opener_build(struct nftnl_rule *rule, const struct nb_input_chain *chain, uint32_t mark)
{
	struct nftnl_udata_buf *udata = nftnl_udata_buf_alloc(NFTNL_UDATA_COMMENT_MAXLEN);
	int r;

	if (!udata)
		return -ENOMEM;
	nftnl_udata_put_strz(udata, NFTNL_UDATA_RULE_COMMENT, NB_OPENER_COMMENT);
	nftnl_rule_set_data(rule, NFTNL_RULE_USERDATA, nftnl_udata_buf_data(udata),
			    nftnl_udata_buf_len(udata));
	nftnl_udata_buf_free(udata);
	r = nb_statements_build(rule, chain->family, mark, nb_opener_statements(chain), 0);
	return r;
}

/* What a walk over the expressions of a rule has understood so far. */
struct reading {
	enum {
		READ_NOTHING,
		READ_NFPROTO,
		READ_DADDR,
		READ_DADDR_MASKED,
		READ_MARK,
		READ_MARK_MASKED
	} loaded; /* what is in register 1 */
	uint32_t mask;
	uint32_t mark;
	bool loopback;
	bool marked;
	bool commented;
	bool accepts;
	bool foreign; /* something that an opener does not have */
};

static bool has_u32(const struct nftnl_expr *expr, uint16_t attr, uint32_t value)
{
	return nftnl_expr_is_set(expr, attr) && nftnl_expr_get_u32(expr, attr) == value;
}

/* Bytes of an attribute, NULL unless they are @length long. */
static const void *get_bytes(const struct nftnl_expr *expr, uint16_t attr, uint32_t length)
{
	uint32_t have = 0;
	const void *data = nftnl_expr_get(expr, attr, &have);

	return data && have == length ? data : NULL;
}

static void read_meta(struct reading *reading, const struct nftnl_expr *expr)
{
	reading->loaded = READ_NOTHING;
	if (has_u32(expr, NFTNL_EXPR_META_KEY, NFT_META_NFPROTO))
		reading->loaded = READ_NFPROTO;
	else if (has_u32(expr, NFTNL_EXPR_META_KEY, NFT_META_MARK) &&
		 nftnl_expr_is_set(expr, NFTNL_EXPR_META_DREG))
		reading->loaded = READ_MARK;
	else
		reading->foreign = true;
}

static void read_payload(struct reading *reading, const struct nftnl_expr *expr)
{
	uint32_t length = nftnl_expr_get_u32(expr, NFTNL_EXPR_PAYLOAD_LEN);

	if (!has_u32(expr, NFTNL_EXPR_PAYLOAD_BASE, NFT_PAYLOAD_NETWORK_HEADER) ||
	    !has_u32(expr, NFTNL_EXPR_PAYLOAD_OFFSET, IP_DADDR_OFFSET) ||
	    (length != 1 && length != 4)) {
		reading->foreign = true;
		return;
	}
	reading->loaded = length == 1 ? READ_DADDR_MASKED : READ_DADDR;
}

static void read_bitwise(struct reading *reading, const struct nftnl_expr *expr)
{
	const uint32_t *mask = get_bytes(expr, NFTNL_EXPR_BITWISE_MASK, sizeof(*mask));
	const uint32_t *flip = get_bytes(expr, NFTNL_EXPR_BITWISE_XOR, sizeof(*flip));

	if (mask && flip && *flip == 0 && reading->loaded == READ_DADDR &&
	    *mask == htonl(0xff000000)) {
		reading->loaded = READ_DADDR_MASKED;
	} else if (mask && flip && *flip == 0 && reading->loaded == READ_MARK) {
		reading->loaded = READ_MARK_MASKED;
		reading->mask = *mask;
	} else {
		reading->foreign = true;
	}
}

static void read_cmp(struct reading *reading, const struct nftnl_expr *expr)
{
	uint32_t length = 0;
	const uint8_t *data = nftnl_expr_get(expr, NFTNL_EXPR_CMP_DATA, &length);
	uint32_t value = 0;

	if (!has_u32(expr, NFTNL_EXPR_CMP_OP, NFT_CMP_EQ) || !data || length > sizeof(value)) {
		reading->foreign = true;
		return;
	}
	memcpy(&value, data, length);
	if (reading->loaded == READ_NFPROTO) {
		reading->foreign |= length != 1 || data[0] != NFPROTO_IPV4;
	} else if (reading->loaded == READ_DADDR_MASKED &&
		   ((length == 1 && data[0] == 127) ||
		    (length == 4 && value == htonl(0x7f000000)))) {
		reading->loopback = true;
	} else if (length == 4 &&
		   ((reading->loaded == READ_MARK_MASKED && value == reading->mask) ||
		    /* a mask of all bits is left out by nft */
		    (reading->loaded == READ_MARK && value == UINT32_MAX))) {
		reading->foreign |= reading->marked;
		reading->marked = true;
		reading->mark = value;
	} else {
		reading->foreign = true;
	}
}

static void read_match(struct reading *reading, const struct nftnl_expr *expr)
{
	const char *name = nftnl_expr_get_str(expr, NFTNL_EXPR_MT_NAME);
	uint32_t length = 0;
	const void *data = nftnl_expr_get(expr, NFTNL_EXPR_MT_INFO, &length);

	if (name && data && strcmp(name, "mark") == 0 && has_u32(expr, NFTNL_EXPR_MT_REV, 1) &&
	    length >= sizeof(struct xt_mark_mtinfo1)) {
		const struct xt_mark_mtinfo1 *info = data;

		reading->foreign |= reading->marked;
		reading->marked = !info->invert && info->mark == info->mask;
		reading->mark = info->mark;
		reading->foreign |= !reading->marked;
	} else if (name && data && strcmp(name, "comment") == 0) {
		/* a fixed buffer; the kernel may hand back less than all of it */
		reading->commented = length >= sizeof(NB_OPENER_COMMENT) &&
				     memcmp(data, NB_OPENER_COMMENT, sizeof(NB_OPENER_COMMENT)) ==
					     0;
	} else {
		reading->foreign = true;
	}
}

static int read_expression(struct nftnl_expr *expr, void *data)
{
	const char *name = nftnl_expr_get_str(expr, NFTNL_EXPR_NAME);
	struct reading *reading = data;

	/* nothing but counts behind the verdict */
	reading->foreign |= reading->accepts && strcmp(name, "counter") != 0;
	if (strcmp(name, "meta") == 0)
		read_meta(reading, expr);
	else if (strcmp(name, "payload") == 0)
		read_payload(reading, expr);
	else if (strcmp(name, "bitwise") == 0)
		read_bitwise(reading, expr);
	else if (strcmp(name, "cmp") == 0)
		read_cmp(reading, expr);
	else if (strcmp(name, "match") == 0)
		read_match(reading, expr);
	else if (strcmp(name, "immediate") == 0 && has_u32(expr, NFTNL_EXPR_IMM_VERDICT, NF_ACCEPT))
		reading->accepts = true;
	else if (strcmp(name, "counter") != 0)
		reading->foreign = true;
	return 0;
}

bool nb_opener_recognise(const struct nftnl_rule *rule, uint32_t *ret_mark)
{
	struct reading reading = { 0 };
	uint32_t length = 0;
	const void *userdata = nftnl_rule_get_data(rule, NFTNL_RULE_USERDATA, &length);
	const char *comment = NULL;

	if (userdata)
		comment = nb_userdata_text(userdata, length, NFTNL_UDATA_RULE_COMMENT);
	reading.commented = comment && strcmp(comment, NB_OPENER_COMMENT) == 0;
	/* libnftnl 1.2.4 lacks const here; it does not write */
	nftnl_expr_foreach((struct nftnl_rule *)(uintptr_t)rule, read_expression, &reading);
	if (!reading.commented || !reading.accepts || !reading.loopback || !reading.marked ||
	    reading.foreign)
		return false;
	*ret_mark = reading.mark;
	return true;
}
