/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the guard has dropped. In our table every rule that counts is one that drops. */
#include "nat-bridge/refused.h"

#include <errno.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <linux/netfilter.h>
#include <stdlib.h>
#include <string.h>

#include "foreign.h"

static struct nb_refusal *put(struct nb_refused *refused, const struct nb_refusal *place)
{
	const struct nb_refusal *found = nb_refused_find(refused, place);
	struct nb_refusal *grown;

	if (found)
		return &refused->items[found - refused->items];
	grown = realloc(refused->items, (refused->count + 1) * sizeof(*grown));
	if (!grown)
		return NULL;
	refused->items = grown;
	grown += refused->count++;
	*grown = *place;
	return grown;
}

static int add_counters(struct nb_refused *refused, const struct nftnl_rule *rule)
{
	const char *chain = nftnl_rule_get_str(rule, NFTNL_RULE_CHAIN);
	struct nftnl_expr_iter *iterator = nftnl_expr_iter_create(rule);
	struct nb_refusal place = { .bytes_known = true }, *row;
	struct nftnl_expr *expr;
	int r = 0;

	if (!iterator)
		return -ENOMEM;
	strncpy(place.where, chain ? chain : "", sizeof(place.where) - 1);
	while (r == 0 && (expr = nftnl_expr_iter_next(iterator))) {
		if (strcmp(nftnl_expr_get_str(expr, NFTNL_EXPR_NAME), "counter") != 0)
			continue;
		row = put(refused, &place);
		if (row) {
			row->packets += nftnl_expr_get_u64(expr, NFTNL_EXPR_CTR_PACKETS);
			row->bytes += nftnl_expr_get_u64(expr, NFTNL_EXPR_CTR_BYTES);
		} else {
			r = -ENOMEM;
		}
	}
	nftnl_expr_iter_destroy(iterator);
	return r;
}

static int read_rule(const struct nlmsghdr *message, void *data)
{
	struct nftnl_rule *rule = nftnl_rule_alloc();
	int r = 0;

	if (!rule)
		return -ENOMEM;
	if (nftnl_rule_nlmsg_parse(message, rule) == 0)
		r = add_counters(data, rule);
	nftnl_rule_free(rule);
	return r;
}

static int read_ingress(struct nb_netlink *nl, struct nb_refused *refused, struct nb_error *err)
{
	struct nb_link_list links = { 0 };
	int r = nb_link_dump(nl, &links, err);

	if (r == 0)
		r = nb_ingress_read_all(nl, &links, 0, err);
	for (size_t i = 0; r == 0 && i < links.count; i++) {
		const struct nb_link *link = &links.items[i];
		struct nb_refusal place = { .where = "ingress" }, *row;

		if (!link->ingress.priority)
			continue;
		strcpy(place.bridge, link->name);
		row = put(refused, &place);
		if (row)
			row->packets = link->dropped;
		else
			r = nb_error_set(err, NB_STATUS_FAILED, ENOMEM, "memory", "out of memory");
	}
	nb_link_list_clear(&links);
	return r;
}

int nb_refused_read(struct nb_netlink *nl, struct nb_refused *ret, struct nb_error *err)
{
	int r;

	memset(ret, 0, sizeof(*ret));
	r = nb_foreign_dump_rules(nl, NFPROTO_INET, NB_TABLE_NAME, NULL, read_rule, ret, err);
	if (r == 0 || r == -ENOENT)
		r = read_ingress(nl, ret, err);
	if (r < 0)
		nb_refused_clear(ret);
	return r;
}

const struct nb_refusal *nb_refused_find(const struct nb_refused *refused,
					 const struct nb_refusal *place)
{
	for (size_t i = 0; i < refused->count; i++)
		if (strcmp(refused->items[i].where, place->where) == 0 &&
		    strcmp(refused->items[i].bridge, place->bridge) == 0)
			return &refused->items[i];
	return NULL;
}

void nb_refused_clear(struct nb_refused *refused)
{
	free(refused->items);
	memset(refused, 0, sizeof(*refused));
}
