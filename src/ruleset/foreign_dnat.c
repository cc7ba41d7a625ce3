/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Somebody else's DNAT to 127.0.0.0/8: where a translation comes before ours is a matter of
 * priorities, so the administrator is asked first. The address is in the rule,
 * in the target of iptables, or in a map.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <libmnl/libmnl.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "../firewall/xtables.h"
#include "foreign.h"

/* A rule whose addresses are in a map; that is asked for when the rules have been read. */
struct dnat_map {
	struct nb_foreign_dnat rule;
	char *set;
	bool by_bridge; /* its keys begin with the bridge's name */
};

struct dnat_reader {
	struct nb_state *state;
	uint8_t family;
	struct dnat_map *maps;
	size_t map_count;
	/* the map whose elements are being read */
	const struct dnat_map *map;
	/* of the rule that is being read */
	uint32_t iifname_register;
	uint32_t address_register; /* that holds a 127/8 address, or one from the map */
	const char *set;
	bool set_by_bridge;
	bool translates;
	char bridge[NB_IFNAME_SIZE];
};

static bool is_loopback_range(const void *data, uint32_t length)
{
	struct nb_nat_range range;

	return nb_xt_nat_range(data, length, &range) && range.first_address >> 24 == IN_LOOPBACKNET;
}

/* A name as the kernel pads it. */
static bool get_name(const void *data, size_t length, char *ret)
{
	if (length > NB_IFNAME_SIZE)
		length = NB_IFNAME_SIZE;
	if (length < 2 || !memchr(data, '\0', length) || *(const char *)data == '\0')
		return false;
	memset(ret, 0, NB_IFNAME_SIZE);
	strcpy(ret, data);
	return true;
}

static int read_expression(struct nftnl_expr *expr, void *data)
{
	const char *name = nftnl_expr_get_str(expr, NFTNL_EXPR_NAME);
	struct dnat_reader *reader = data;
	const void *value;
	uint32_t length = 0;

	if (strcmp(name, "meta") == 0) {
		if (nftnl_expr_get_u32(expr, NFTNL_EXPR_META_KEY) == NFT_META_IIFNAME)
			reader->iifname_register = nftnl_expr_get_u32(expr, NFTNL_EXPR_META_DREG);
		else if (nftnl_expr_get_u32(expr, NFTNL_EXPR_META_DREG) == reader->iifname_register)
			reader->iifname_register = 0;
	} else if (strcmp(name, "cmp") == 0) {
		value = nftnl_expr_get(expr, NFTNL_EXPR_CMP_DATA, &length);
		if (value && reader->iifname_register &&
		    nftnl_expr_get_u32(expr, NFTNL_EXPR_CMP_SREG) == reader->iifname_register &&
		    nftnl_expr_get_u32(expr, NFTNL_EXPR_CMP_OP) == NFT_CMP_EQ)
			get_name(value, length, reader->bridge);
	} else if (strcmp(name, "immediate") == 0) {
		value = nftnl_expr_get(expr, NFTNL_EXPR_IMM_DATA, &length);
		if (value && length == 4 && *(const uint8_t *)value == 127)
			reader->address_register = nftnl_expr_get_u32(expr, NFTNL_EXPR_IMM_DREG);
	} else if (strcmp(name, "lookup") == 0) {
		if (!nftnl_expr_is_set(expr, NFTNL_EXPR_LOOKUP_DREG))
			return 0;
		reader->address_register = nftnl_expr_get_u32(expr, NFTNL_EXPR_LOOKUP_DREG);
		reader->set = nftnl_expr_get_str(expr, NFTNL_EXPR_LOOKUP_SET);
		reader->set_by_bridge = reader->iifname_register &&
					nftnl_expr_get_u32(expr, NFTNL_EXPR_LOOKUP_SREG) ==
						reader->iifname_register;
	} else if (strcmp(name, "nat") == 0) {
		if (reader->address_register &&
		    nftnl_expr_get_u32(expr, NFTNL_EXPR_NAT_TYPE) == NFT_NAT_DNAT &&
		    nftnl_expr_get_u32(expr, NFTNL_EXPR_NAT_REG_ADDR_MIN) ==
			    reader->address_register)
			reader->translates = true;
	} else if (strcmp(name, "target") == 0) {
		const char *target = nftnl_expr_get_str(expr, NFTNL_EXPR_TG_NAME);

		value = nftnl_expr_get(expr, NFTNL_EXPR_TG_INFO, &length);
		if (target && value && strcmp(target, "DNAT") == 0 &&
		    is_loopback_range(value, length))
			reader->translates = true;
	}
	return 0;
}

static void dnat_clear(struct nb_foreign_dnat *dnat)
{
	free(dnat->table);
	free(dnat->chain);
	memset(dnat, 0, sizeof(*dnat));
}

/* Takes @dnat, also when it fails. */
static int append_dnat(struct nb_state *state, struct nb_foreign_dnat *dnat)
{
	struct nb_foreign_dnat *grown = realloc(state->dnats,
						(state->dnat_count + 1) * sizeof(*grown));

	if (grown)
		state->dnats = grown;
	if (!grown || !dnat->table || !dnat->chain) {
		dnat_clear(dnat);
		return -ENOMEM;
	}
	grown[state->dnat_count++] = *dnat;
	return 0;
}

/* Takes @rule, also when it fails. */
static int append_map(struct dnat_reader *reader, struct nb_foreign_dnat *rule)
{
	struct dnat_map *grown = realloc(reader->maps, (reader->map_count + 1) * sizeof(*grown));
	char *set = strdup(reader->set);

	if (grown)
		reader->maps = grown;
	if (!grown || !set || !rule->table || !rule->chain) {
		dnat_clear(rule);
		free(set);
		return -ENOMEM;
	}
	grown[reader->map_count++] = (struct dnat_map){
		.rule = *rule,
		.set = set,
		.by_bridge = reader->set_by_bridge,
	};
	return 0;
}

static int read_rule(const struct nlmsghdr *message, void *data)
{
	struct nftnl_rule *rule = nftnl_rule_alloc();
	struct dnat_reader *reader = data;
	struct nb_foreign_dnat dnat;
	int r = 0;

	if (!rule)
		return -ENOMEM;
	if (nftnl_rule_nlmsg_parse(message, rule) < 0)
		goto out;
	reader->iifname_register = reader->address_register = 0;
	reader->set = NULL;
	reader->translates = reader->set_by_bridge = false;
	memset(reader->bridge, 0, sizeof(reader->bridge));
	nftnl_expr_foreach(rule, read_expression, reader);
	if (!reader->translates)
		goto out;
	dnat = (struct nb_foreign_dnat){
		.family = reader->family,
		.table = strdup(nftnl_rule_get_str(rule, NFTNL_RULE_TABLE)),
		.chain = strdup(nftnl_rule_get_str(rule, NFTNL_RULE_CHAIN)),
		.handle = nftnl_rule_get_u64(rule, NFTNL_RULE_HANDLE),
	};
	memcpy(dnat.bridge, reader->bridge, sizeof(dnat.bridge));
	r = reader->set ? append_map(reader, &dnat) : append_dnat(reader->state, &dnat);
out:
	nftnl_rule_free(rule);
	return r;
}

/* The value in an attribute of the kind that holds one. */
static const struct nlattr *value_of(const struct nlattr *nest)
{
	struct nlattr *attr;

	mnl_attr_for_each_nested(attr, nest) {
		if (mnl_attr_get_type(attr) == NFTA_DATA_VALUE)
			return attr;
	}
	return NULL;
}

static int read_element(struct dnat_reader *reader, const struct nlattr *element)
{
	const struct nlattr *key = NULL, *address = NULL;
	struct nlattr *attr;
	struct nb_foreign_dnat dnat = reader->map->rule;

	mnl_attr_for_each_nested(attr, element) {
		if (mnl_attr_get_type(attr) == NFTA_SET_ELEM_KEY)
			key = value_of(attr);
		else if (mnl_attr_get_type(attr) == NFTA_SET_ELEM_DATA)
			address = value_of(attr);
	}
	if (!address || mnl_attr_get_payload_len(address) < 4 ||
	    *(const uint8_t *)mnl_attr_get_payload(address) != 127)
		return 0;
	if (reader->map->by_bridge && key)
		get_name(mnl_attr_get_payload(key), mnl_attr_get_payload_len(key), dnat.bridge);
	dnat.table = strdup(dnat.table);
	dnat.chain = strdup(dnat.chain);
	return append_dnat(reader->state, &dnat);
}

static int read_elements(const struct nlmsghdr *message, void *data)
{
	struct nlattr *attr, *element;

	mnl_attr_for_each(attr, message, sizeof(struct nfgenmsg)) {
		if (mnl_attr_get_type(attr) != NFTA_SET_ELEM_LIST_ELEMENTS)
			continue;
		mnl_attr_for_each_nested(element, attr) {
			int r = read_element(data, element);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

int nb_foreign_read_dnat(struct nb_netlink *nl, const struct nb_foreign_name *table,
			 struct nb_state *state, struct nb_error *err)
{
	struct dnat_reader reader = { .state = state, .family = table->family };
	int r = nb_foreign_dump_rules(nl, table->family, table->table, NULL, read_rule, &reader,
				      err);

	for (size_t i = 0; r == 0 && i < reader.map_count; i++) {
		reader.map = &reader.maps[i];
		r = nb_foreign_dump_set(nl, table->family, table->table, reader.map->set,
					read_elements, &reader, err);
	}
	for (size_t i = 0; i < reader.map_count; i++) {
		dnat_clear(&reader.maps[i].rule);
		free(reader.maps[i].set);
	}
	free(reader.maps);
	return r;
}
