/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Chains by family, table and name. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <libnftnl/expr.h>

#include "chain_list.h"

const struct nb_chain *nb_chain_find(const struct nb_chain_list *list, const struct nb_chain *from,
				     const char *name)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct nb_chain *chain = &list->items[i];

		if (chain->family == from->family && chain->legacy == from->legacy &&
		    strcmp(chain->name, name) == 0 && strcmp(chain->table, from->table) == 0)
			return chain;
	}
	return NULL;
}

struct nb_chain *nb_chain_list_add(struct nb_chain_list *list, uint8_t family, const char *table,
				   const char *name)
{
	struct nb_chain *added;

	if (list->count == list->capacity) {
		size_t capacity = list->capacity ? 2 * list->capacity : 16;

		added = reallocarray(list->items, capacity, sizeof(*added));
		if (!added)
			return NULL;
		list->items = added;
		list->capacity = capacity;
	}
	added = &list->items[list->count++];
	*added = (struct nb_chain){
		.family = family,
		.table = strdup(table),
		.name = strdup(name),
	};
	return added->table && added->name ? added : NULL;
}

static int take_target(struct nftnl_expr *expr, void *data)
{
	if (strcmp(nftnl_expr_get_str(expr, NFTNL_EXPR_NAME), "immediate") == 0 &&
	    nftnl_expr_is_set(expr, NFTNL_EXPR_IMM_CHAIN))
		*(const char **)data = nftnl_expr_get_str(expr, NFTNL_EXPR_IMM_CHAIN);
	return 0;
}

const char *nb_rule_target(struct nftnl_rule *rule)
{
	const char *name = NULL;

	if (rule)
		nftnl_expr_foreach(rule, take_target, &name);
	return name;
}

bool nb_chain_has_device(const struct nb_chain *chain, const char *device)
{
	for (size_t i = 0; i < chain->device_count; i++)
		if (strcmp(chain->devices[i], device) == 0)
			return true;
	return false;
}

int nb_chain_append(struct nb_chain *chain, struct nftnl_rule *rule)
{
	if (chain->count == chain->capacity) {
		size_t capacity = chain->capacity ? 2 * chain->capacity : 8;
		struct nftnl_rule **grown = reallocarray(chain->rules, capacity,
							 sizeof(struct nftnl_rule *));

		if (!grown) {
			if (rule)
				nftnl_rule_free(rule);
			return -ENOMEM;
		}
		chain->rules = grown;
		chain->capacity = capacity;
	}
	chain->rules[chain->count++] = rule;
	return 0;
}

void nb_chain_list_clear(struct nb_chain_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		struct nb_chain *chain = &list->items[i];

		for (size_t j = 0; j < chain->count; j++)
			if (chain->rules[j])
				nftnl_rule_free(chain->rules[j]);
		free(chain->rules);
		free(chain->devices);
		free(chain->table);
		free(chain->name);
	}
	free(list->items);
	memset(list, 0, sizeof(*list));
}
