/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Somebody who uses our bit of the packet mark. Ours is set behind the translation and for the
 * input hook, and what others set is cleared there; a rule that drops by it is an obstacle like
 * any other. Here it is said that two use one bit: theirs may lose its meaning.
 */
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/xt_connmark.h>
#include <linux/netfilter/xt_mark.h>
#include <stdio.h>
#include <string.h>
#include <libnftnl/expr.h>

#include "../ruleset/opener.h"
#include "clash.h"
#include "tell.h"

struct reading {
	uint32_t mark;
	uint32_t reg;  /* that holds the mark; 0 = none */
	uint32_t mask; /* bits of it that count */
	uint32_t set;  /* bits that were put into it */
	bool clashes;
};

/* Is that one who knows our bits, and not one who has all of them for itself? */
static bool uses(const struct reading *reading, uint32_t mask, uint32_t value)
{
	return (mask == UINT32_MAX ? value : mask) & reading->mark;
}

static void read_bitwise(struct reading *reading, const struct nftnl_expr *expr)
{
	uint32_t length = 0;
	const void *mask = nftnl_expr_get(expr, NFTNL_EXPR_BITWISE_MASK, &length);
	uint32_t flip_length = 0;
	const void *flip = nftnl_expr_get(expr, NFTNL_EXPR_BITWISE_XOR, &flip_length);

	if (!reading->reg || !mask || !flip || length != sizeof(reading->mask) ||
	    flip_length != length ||
	    nftnl_expr_get_u32(expr, NFTNL_EXPR_BITWISE_SREG) != reading->reg)
		return;
	memcpy(&reading->mask, mask, sizeof(reading->mask));
	memcpy(&reading->set, flip, sizeof(reading->set));
	reading->reg = nftnl_expr_get_u32(expr, NFTNL_EXPR_BITWISE_DREG);
}

static void read_meta(struct reading *reading, const struct nftnl_expr *expr)
{
	if (nftnl_expr_get_u32(expr, NFTNL_EXPR_META_KEY) != NFT_META_MARK)
		return;
	if (!nftnl_expr_is_set(expr, NFTNL_EXPR_META_SREG)) {
		reading->reg = nftnl_expr_get_u32(expr, NFTNL_EXPR_META_DREG);
		reading->mask = UINT32_MAX;
		reading->set = 0;
		return;
	}
	/* it sets the bit; or it clears it and leaves others, so it knows it */
	if (nftnl_expr_get_u32(expr, NFTNL_EXPR_META_SREG) == reading->reg)
		reading->clashes |= (reading->set & reading->mark) ||
				    (reading->mask && ~reading->mask & reading->mark);
}

static void read_xt(struct reading *reading, const char *name, uint32_t revision, const void *info,
		    uint32_t length)
{
	struct xt_mark_mtinfo1 match;
	struct xt_mark_tginfo2 target;

	if (!name || !info)
		return;
	if (strcmp(name, "mark") == 0 && revision == 1 && length >= sizeof(match)) {
		memcpy(&match, info, sizeof(match));
		reading->clashes |= uses(reading, match.mask, match.mark);
	} else if (strcmp(name, "MARK") == 0 && revision == 2 && length >= sizeof(target)) {
		memcpy(&target, info, sizeof(target));
		reading->clashes |= uses(reading, target.mask, target.mark);
	}
}

static int read_expression(struct nftnl_expr *expr, void *data)
{
	const char *name = nftnl_expr_get_str(expr, NFTNL_EXPR_NAME);
	struct reading *reading = data;
	uint32_t length = 0, value = 0;
	const void *bytes;

	if (strcmp(name, "meta") == 0) {
		read_meta(reading, expr);
	} else if (strcmp(name, "bitwise") == 0) {
		read_bitwise(reading, expr);
	} else if (strcmp(name, "immediate") == 0) {
		bytes = nftnl_expr_get(expr, NFTNL_EXPR_IMM_DATA, &length);
		if (!bytes || length != sizeof(value) ||
		    nftnl_expr_is_set(expr, NFTNL_EXPR_IMM_VERDICT))
			return 0;
		memcpy(&reading->set, bytes, sizeof(reading->set));
		reading->mask = 0;
		reading->reg = nftnl_expr_get_u32(expr, NFTNL_EXPR_IMM_DREG);
	} else if (strcmp(name, "cmp") == 0) {
		bytes = nftnl_expr_get(expr, NFTNL_EXPR_CMP_DATA, &length);
		if (!reading->reg || !bytes || length != sizeof(value) ||
		    nftnl_expr_get_u32(expr, NFTNL_EXPR_CMP_SREG) != reading->reg)
			return 0;
		memcpy(&value, bytes, sizeof(value));
		reading->clashes |= uses(reading, reading->mask, value);
	} else if (strcmp(name, "match") == 0) {
		bytes = nftnl_expr_get(expr, NFTNL_EXPR_MT_INFO, &length);
		read_xt(reading, nftnl_expr_get_str(expr, NFTNL_EXPR_MT_NAME),
			nftnl_expr_get_u32(expr, NFTNL_EXPR_MT_REV), bytes, length);
	} else if (strcmp(name, "target") == 0) {
		bytes = nftnl_expr_get(expr, NFTNL_EXPR_TG_INFO, &length);
		read_xt(reading, nftnl_expr_get_str(expr, NFTNL_EXPR_TG_NAME),
			nftnl_expr_get_u32(expr, NFTNL_EXPR_TG_REV), bytes, length);
	} else if (nftnl_expr_is_set(expr, NFTNL_EXPR_BASE)) {
		/* whatever else fills a register: at worst it is taken for the mark no more */
		reading->reg = 0;
	}
	return 0;
}

int nb_clash_find(const struct nb_chain_list *chains, uint32_t mark, struct nb_obstacle_list *ret)
{
	for (size_t i = 0; i < chains->count; i++) {
		const struct nb_chain *chain = &chains->items[i];

		for (size_t j = 0; j < chain->count; j++) {
			struct reading reading = { .mark = mark };
			struct nb_place place = { chain, chain->rules[j], j };
			struct nb_obstacle obstacle = { .kind = NB_OBSTACLE_CLASHES, .mark = mark };
			uint32_t own;

			if (!chain->rules[j] || nb_opener_recognise(chain->rules[j], &own))
				continue;
			nftnl_expr_foreach(chain->rules[j], read_expression, &reading);
			if (!reading.clashes)
				continue;
			nb_obstacle_at(&obstacle, &place);
			strcpy(obstacle.cure, "choose a free one (\"mark\" in the configuration)");
			return nb_obstacle_append(ret, &obstacle);
		}
	}
	return 0;
}
