/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading the state: everything that a plan needs, at one generation.
 *
 * Generation, dumps, generation: if the two differ, somebody committed in
 * between and the caller asks again. Rules are asked for chain by chain, and only of
 * chains that concern us, so that a firewall of many thousand rules elsewhere costs nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "foreign.h"
#include "element.h"
#include "schema.h"
#include "structure.h"
#include "userdata.h"

#define REQUEST_SIZE 2048

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/*
 * A conflict is what asking again can cure; so is a table, chain or set that
 * was there a moment ago.
 */
static int word_failure(struct nb_error *err, const struct nb_netlink_ack *ack, int number,
			const char *what)
{
	if (number == -EINTR || number == -ERESTART || number == -EBUSY || number == -ENOENT) {
		nb_netlink_error(err, ack, -ERESTART, what);
		return -EAGAIN;
	}
	return nb_netlink_error(err, ack, number, what);
}

static int get_generation(const struct nlmsghdr *message, void *data)
{
	struct nlattr *attr;

	mnl_attr_for_each(attr, message, sizeof(struct nfgenmsg)) {
		if (mnl_attr_get_type(attr) == NFTA_GEN_ID)
			*(uint32_t *)data = ntohl(mnl_attr_get_u32(attr));
	}
	return 0;
}

int nb_state_read_generation(struct nb_netlink *nl, uint32_t *ret, struct nb_error *err)
{
	char buffer[REQUEST_SIZE] = { 0 };
	struct nlmsghdr *request = nftnl_nlmsg_build_hdr(buffer, NFT_MSG_GETGEN, AF_UNSPEC, 0, 0);
	struct nb_netlink_ack ack;
	uint32_t generation = 0;
	int r = nb_netlink_ask(nl, NETLINK_NETFILTER, request, get_generation, &generation, &ack);

	/* nfnetlink answers EINVAL for a subsystem that it does not have */
	if (r == -EINVAL || r == -EOPNOTSUPP || (r == 0 && generation == 0))
		r = -EPROTONOSUPPORT;
	if (r < 0)
		return nb_netlink_error(err, &ack, r, "read the ruleset's generation");
	*ret = generation;
	return 0;
}

int nb_foreign_dump_rules(struct nb_netlink *nl, uint8_t family, const char *table,
			  const char *chain, int (*callback)(const struct nlmsghdr *, void *),
			  void *data, struct nb_error *err)
{
	char buffer[REQUEST_SIZE] = { 0 };
	struct nlmsghdr *request = nftnl_nlmsg_build_hdr(buffer, NFT_MSG_GETRULE, family,
							 NLM_F_DUMP, 0);
	struct nb_netlink_ack ack;
	int r;

	mnl_attr_put_strz(request, NFTA_RULE_TABLE, table);
	if (chain)
		mnl_attr_put_strz(request, NFTA_RULE_CHAIN, chain);
	r = nb_netlink_ask(nl, NETLINK_NETFILTER, request, callback, data, &ack);
	return r < 0 ? word_failure(err, &ack, r, "read rules") : 0;
}

static struct nlmsghdr *set_request(char *buffer, uint8_t family, uint16_t flags, const char *table,
				    const char *set)
{
	struct nlmsghdr *request = nftnl_nlmsg_build_hdr(buffer, NFT_MSG_GETSETELEM, family, flags,
							 0);

	mnl_attr_put_strz(request, NFTA_SET_ELEM_LIST_TABLE, table);
	mnl_attr_put_strz(request, NFTA_SET_ELEM_LIST_SET, set);
	return request;
}

int nb_foreign_dump_set(struct nb_netlink *nl, uint8_t family, const char *table, const char *set,
			int (*callback)(const struct nlmsghdr *, void *), void *data,
			struct nb_error *err)
{
	char buffer[REQUEST_SIZE] = { 0 };
	struct nlmsghdr *request = set_request(buffer, family, NLM_F_DUMP, table, set);
	struct nb_netlink_ack ack;
	int r = nb_netlink_ask(nl, NETLINK_NETFILTER, request, callback, data, &ack);

	/* a damaged table may lack the set; then there is nothing to read */
	if (r == -ENOENT)
		return 0;
	return r < 0 ? word_failure(err, &ack, r, "read elements") : 0;
}

/* What all callbacks of one reading share. */
struct reader {
	struct nb_netlink *nl;
	struct nb_state *state;
	struct nb_structure structure;
	struct nb_foreign foreign;
	bool table_seen;
	bool alien;   /* an element without a key of ours was seen */
	bool dormant; /* its hooks are switched off */
	bool schema_seen;
	unsigned int schema;
	int64_t now;
	/* of the dump that is under way */
	enum nb_set_id set;
	uint8_t protocols[8];
	size_t protocol_count;
};

/* The table's comment is "schema 2". */
static void read_schema(struct reader *reader, const void *userdata, size_t length)
{
	const char *text = nb_userdata_text(userdata, length, NFTNL_UDATA_TABLE_COMMENT);
	size_t prefix = strlen(NB_SCHEMA_COMMENT_PREFIX);
	char *end;

	if (!text || strncmp(text, NB_SCHEMA_COMMENT_PREFIX, prefix) != 0)
		return;
	reader->schema = (unsigned int)strtoul(text + prefix, &end, 10);
	reader->schema_seen = end != text + prefix && *end == '\0';
}

static int read_table(const struct nlmsghdr *message, void *data)
{
	struct nftnl_table *table = nftnl_table_alloc();
	struct reader *reader = data;
	const void *userdata;
	uint32_t length = 0;
	int r = 0;

	if (!table)
		return -ENOMEM;
	if (nftnl_table_nlmsg_parse(message, table) < 0)
		goto out;
	if (nftnl_table_get_u32(table, NFTNL_TABLE_FAMILY) == NFPROTO_INET &&
	    strcmp(nftnl_table_get_str(table, NFTNL_TABLE_NAME), NB_TABLE_NAME) == 0) {
		reader->table_seen = true;
		reader->dormant = nftnl_table_get_u32(table, NFTNL_TABLE_FLAGS) &
				  NFT_TABLE_F_DORMANT;
		userdata = nftnl_table_get_data(table, NFTNL_TABLE_USERDATA, &length);
		if (userdata)
			read_schema(reader, userdata, length);
	} else {
		r = nb_foreign_table(&reader->foreign, table);
	}
out:
	nftnl_table_free(table);
	return r;
}

static int read_chain(const struct nlmsghdr *message, void *data)
{
	struct nftnl_chain *chain = nftnl_chain_alloc();
	struct reader *reader = data;
	int r = 0;

	if (!chain)
		return -ENOMEM;
	if (nftnl_chain_nlmsg_parse(message, chain) < 0)
		goto out;
	if (nftnl_chain_get_u32(chain, NFTNL_CHAIN_FAMILY) == NFPROTO_INET &&
	    strcmp(nftnl_chain_get_str(chain, NFTNL_CHAIN_TABLE), NB_TABLE_NAME) == 0)
		nb_structure_chain(&reader->structure, chain);
	else
		r = nb_foreign_chain(&reader->foreign, chain);
out:
	nftnl_chain_free(chain);
	return r;
}

static int read_set(const struct nlmsghdr *message, void *data)
{
	struct nftnl_set *set = nftnl_set_alloc();
	struct reader *reader = data;

	if (!set)
		return -ENOMEM;
	if (nftnl_set_nlmsg_parse(message, set) == 0)
		nb_structure_set(&reader->structure, set);
	nftnl_set_free(set);
	return 0;
}

static int read_rule(const struct nlmsghdr *message, void *data)
{
	struct nftnl_rule *rule = nftnl_rule_alloc();
	struct reader *reader = data;

	if (!rule)
		return -ENOMEM;
	if (nftnl_rule_nlmsg_parse(message, rule) == 0)
		nb_structure_rule(&reader->structure, rule);
	else
		nb_structure_unreadable(&reader->structure);
	nftnl_rule_free(rule);
	return 0;
}

static int add_element(struct reader *reader, const struct nlattr *attr)
{
	struct nb_element element;
	struct nb_bridge bridge, *put;
	int r;

	if (reader->set == NB_SET_ID_BRIDGES) {
		r = nb_element_get_bridge(attr, &bridge);
		if (r < 0)
			goto out;
		put = nb_bridge_put(&reader->state->bridges, bridge.name);
		if (!put)
			return -ENOMEM;
		*put = bridge;
		return 0;
	}
	r = nb_element_get(attr, reader->set, reader->now, &element);
	if (r < 0)
		goto out;
	r = nb_element_list_append(reader->set == NB_SET_ID_TARGETS ? &reader->state->targets
								    : &reader->state->accepted,
				   &element);
	free(element.comment);
	return r;
out:
	if (r != -EBADMSG)
		return r;
	/* it has no key (a catch-all), or is of a set with another type */
	reader->alien = true;
	return 0;
}

static int read_elements(const struct nlmsghdr *message, void *data)
{
	struct nlattr *attr, *element;

	mnl_attr_for_each(attr, message, sizeof(struct nfgenmsg)) {
		if (mnl_attr_get_type(attr) != NFTA_SET_ELEM_LIST_ELEMENTS)
			continue;
		mnl_attr_for_each_nested(element, attr) {
			int r = add_element(data, element);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

static int read_protocols(const struct nlmsghdr *message, void *data)
{
	struct nlattr *attr, *element, *key, *value;
	struct reader *reader = data;

	mnl_attr_for_each(attr, message, sizeof(struct nfgenmsg)) {
		if (mnl_attr_get_type(attr) != NFTA_SET_ELEM_LIST_ELEMENTS)
			continue;
		mnl_attr_for_each_nested(element, attr)
			mnl_attr_for_each_nested(key, element) {
				if (mnl_attr_get_type(key) != NFTA_SET_ELEM_KEY)
					continue;
				mnl_attr_for_each_nested(value, key) {
					if (reader->protocol_count < sizeof(reader->protocols))
						reader->protocols[reader->protocol_count++] = *(
							const uint8_t *)mnl_attr_get_payload(value);
				}
			}
	}
	return 0;
}

static int dump_set(struct reader *reader, enum nb_set_id id, const char *name,
		    struct nb_error *err)
{
	reader->set = id;
	return nb_foreign_dump_set(reader->nl, NFPROTO_INET, NB_TABLE_NAME, name, read_elements,
				   reader, err);
}

/* Ask for single elements of a set by their keys. */
static int get_elements(struct reader *reader, enum nb_set_id id, const char *name,
			const struct nb_element_list *keys, struct nb_error *err)
{
	for (size_t i = 0; i < keys->count; i++) {
		char buffer[REQUEST_SIZE] = { 0 };
		struct nlmsghdr *request = set_request(buffer, NFPROTO_INET, 0, NB_TABLE_NAME,
						       name);
		struct nb_netlink_ack ack;
		struct nlattr *list, *element;
		int r;

		list = mnl_attr_nest_start(request, NFTA_SET_ELEM_LIST_ELEMENTS);
		element = mnl_attr_nest_start(request, NFTA_LIST_ELEM);
		nb_element_put_key(request, id, &keys->items[i]);
		mnl_attr_nest_end(request, element);
		mnl_attr_nest_end(request, list);
		reader->set = id;
		r = nb_netlink_ask(reader->nl, NETLINK_NETFILTER, request, read_elements, reader,
				   &ack);
		if (r < 0 && r != -ENOENT)
			return word_failure(err, &ack, r, "read an element");
	}
	return 0;
}

/*
 * With keys: `targets` by key; then `accepted` by the keys with the targets
 * that were asked for, and with those that the kernel has.
 */
static int read_asked(struct reader *reader, const struct nb_element_list *keys,
		      struct nb_error *err)
{
	struct nb_element_list wanted = { 0 };
	size_t kept = 0;
	int r = get_elements(reader, NB_SET_ID_TARGETS, NB_SET_TARGETS, keys, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < keys->count; i++) {
		r = nb_element_list_append(&wanted, &keys->items[i]);
		if (r < 0)
			goto out;
	}
	for (size_t i = 0; i < reader->state->targets.count; i++) {
		r = nb_element_list_append(&wanted, &reader->state->targets.items[i]);
		if (r < 0)
			goto out;
	}
	nb_element_list_sort(&wanted);
	for (size_t i = 0; i < wanted.count; i++) {
		if (kept && nb_element_compare(&wanted.items[kept - 1], &wanted.items[i]) == 0)
			free(wanted.items[i].comment);
		else
			wanted.items[kept++] = wanted.items[i];
	}
	wanted.count = kept;
	r = get_elements(reader, NB_SET_ID_ACCEPTED, NB_SET_ACCEPTED, &wanted, err);
	reader->state->partial = true;
out:
	nb_element_list_clear(&wanted);
	return r;
}

static int read_asked_ingress(struct reader *reader, const struct nb_element_list *keys,
			      struct nb_error *err)
{
	struct nb_link_list *links = &reader->state->links;
	const char *before = "";
	int r = 0;

	for (size_t i = 0; r == 0 && i < keys->count; i++) {
		const char *bridge = keys->items[i].bridge;
		const struct nb_link *link = nb_link_find(links, bridge);

		if (link && strcmp(bridge, before) != 0)
			r = nb_ingress_read(reader->nl, &links->items[link - links->items],
					    reader->structure.mark, err);
		before = bridge;
	}
	return r;
}

static int dump(struct reader *reader, uint16_t type, uint16_t family, const char *table,
		int (*callback)(const struct nlmsghdr *, void *), const char *what,
		struct nb_error *err)
{
	char buffer[REQUEST_SIZE] = { 0 };
	struct nlmsghdr *request = nftnl_nlmsg_build_hdr(buffer, type, family, NLM_F_DUMP, 0);
	struct nb_netlink_ack ack;
	int r;

	if (table)
		mnl_attr_put_strz(request, NFTA_SET_TABLE, table);
	r = nb_netlink_ask(reader->nl, NETLINK_NETFILTER, request, callback, reader, &ack);
	return r < 0 ? word_failure(err, &ack, r, what) : 0;
}

static void judge_schema(struct reader *reader)
{
	struct nb_state *state = reader->state;

	if (!reader->schema_seen)
		state->table = NB_TABLE_DAMAGED;
	else if (reader->schema > NB_SCHEMA)
		state->table = NB_TABLE_NEWER;
	else if (reader->schema < NB_SCHEMA)
		state->table = NB_TABLE_OLDER;
	else
		state->table = NB_TABLE_SOUND;
	if (state->table == NB_TABLE_DAMAGED)
		snprintf(state->damage, sizeof(state->damage), "the schema comment is missing");
	else if (state->table == NB_TABLE_SOUND && reader->dormant)
		snprintf(state->damage, sizeof(state->damage), "it is dormant");
	else if (state->table != NB_TABLE_SOUND)
		snprintf(state->damage, sizeof(state->damage), "it has schema %u, this is %d",
			 reader->schema, NB_SCHEMA);
}

/* An element that is none of ours would map what nobody asked for: the table is made anew. */
static void judge_elements(struct reader *reader)
{
	struct nb_state *state = reader->state;

	if (!reader->alien || state->table != NB_TABLE_SOUND)
		return;
	state->table = NB_TABLE_DAMAGED;
	snprintf(state->damage, sizeof(state->damage), "a set has an element without a key");
}

/* Sets, rules and elements of our own table. */
static int read_own_table(struct reader *reader, const struct nb_element_list *keys,
			  struct nb_error *err)
{
	struct nb_structure *structure = &reader->structure;
	struct nb_state *state = reader->state;
	int r;

	judge_schema(reader);
	r = dump(reader, NFT_MSG_GETSET, NFPROTO_INET, NB_TABLE_NAME, read_set, "read sets", err);
	if (r == 0)
		r = nb_foreign_dump_rules(reader->nl, NFPROTO_INET, NB_TABLE_NAME, NULL, read_rule,
					  reader, err);
	for (size_t i = 0; r == 0 && i < structure->anonymous_count; i++) {
		char buffer[REQUEST_SIZE] = { 0 };
		struct nb_netlink_ack ack;

		reader->protocol_count = 0;
		r = nb_netlink_ask(reader->nl, NETLINK_NETFILTER,
				   set_request(buffer, NFPROTO_INET, NLM_F_DUMP, NB_TABLE_NAME,
					       structure->anonymous[i]),
				   read_protocols, reader, &ack);
		if (r < 0)
			return word_failure(err, &ack, r, "read a set");
		nb_structure_anonymous(structure, reader->protocols, reader->protocol_count);
	}
	if (r < 0)
		return r;
	if (state->table == NB_TABLE_SOUND && !nb_structure_is_sound(structure))
		state->table = NB_TABLE_DAMAGED;

	r = dump_set(reader, NB_SET_ID_BRIDGES, NB_SET_BRIDGES, err);
	if (r < 0)
		return r;
	judge_elements(reader);
	if (keys && state->table == NB_TABLE_SOUND)
		return read_asked(reader, keys, err);
	r = dump_set(reader, NB_SET_ID_TARGETS, NB_SET_TARGETS, err);
	if (r == 0)
		r = dump_set(reader, NB_SET_ID_ACCEPTED, NB_SET_ACCEPTED, err);
	judge_elements(reader);
	return r;
}

static bool has_twins(const struct nb_element_list *list,
		      int (*compare)(const struct nb_element *, const struct nb_element *))
{
	for (size_t i = 1; i < list->count; i++)
		if (compare(&list->items[i - 1], &list->items[i]) == 0)
			return true;
	return false;
}

int nb_state_read(struct nb_netlink *nl, uint32_t mark, const struct nb_element_list *keys,
		  unsigned int flags, struct nb_state *ret, struct nb_error *err)
{
	struct reader reader = {
		.nl = nl,
		.state = ret,
		.structure = { .damage = ret->damage,
			       .damage_size = sizeof(ret->damage),
			       .mark = mark },
		.foreign = { .nl = nl, .mark = mark, .state = ret },
	};
	uint32_t generation = 0;
	int r;

	memset(ret, 0, sizeof(*ret));
	r = nb_state_read_generation(nl, &ret->generation, err);
	if (r < 0)
		return r;
	reader.now = now_ms();
	r = dump(&reader, NFT_MSG_GETTABLE, NFPROTO_UNSPEC, NULL, read_table, "read tables", err);
	if (r == 0)
		r = dump(&reader, NFT_MSG_GETCHAIN, NFPROTO_UNSPEC, NULL, read_chain, "read chains",
			 err);
	if (r == 0 && reader.table_seen)
		r = read_own_table(&reader, keys, err);
	if (r == 0)
		r = nb_foreign_read(&reader.foreign, flags & NB_READ_DNAT, err);
	if (r == 0)
		r = nb_link_dump(nl, &ret->links, err);
	if (r == 0)
		r = ret->partial ? read_asked_ingress(&reader, keys, err)
				 : nb_ingress_read_all(nl, &ret->links, mark, err);
	if (r == 0)
		r = nb_state_read_generation(nl, &generation, err);
	nb_foreign_clear(&reader.foreign);
	if (r < 0)
		return r;
	if (generation != ret->generation) {
		nb_netlink_error(err, NULL, -ERESTART, "read the ruleset");
		return -EAGAIN;
	}
	nb_element_list_sort(&ret->targets);
	nb_element_list_sort(&ret->accepted);
	/*
	 * While the kernel grows or shrinks a set's hash table, a dump may show one element
	 * twice and miss another, with no change of the generation.
	 */
	if (has_twins(&ret->targets, nb_element_compare_key) ||
	    has_twins(&ret->accepted, nb_element_compare)) {
		nb_netlink_error(err, NULL, -ERESTART, "read the mappings");
		return -EAGAIN;
	}
	return 0;
}

int nb_state_read_devices(struct nb_netlink *nl, uint32_t mark, struct nb_state *ret,
			  struct nb_error *err)
{
	int r;

	memset(ret, 0, sizeof(*ret));
	r = nb_state_read_generation(nl, &ret->generation, err);
	if (r == 0)
		r = nb_link_dump(nl, &ret->links, err);
	return r < 0 ? r : nb_ingress_read_all(nl, &ret->links, mark, err);
}

int nb_state_read_elements(struct nb_netlink *nl, const struct nb_element_list *keys,
			   struct nb_state *ret, struct nb_error *err)
{
	struct reader reader = { .nl = nl, .state = ret, .now = now_ms() };
	int r;

	memset(ret, 0, sizeof(*ret));
	ret->partial = true;
	r = keys ? get_elements(&reader, NB_SET_ID_TARGETS, NB_SET_TARGETS, keys, err)
		 : dump_set(&reader, NB_SET_ID_BRIDGES, NB_SET_BRIDGES, err);
	return r == -ENOENT ? 0 : r;
}

static bool lacks_ingress(const struct nb_bridge_list *bridges, const struct nb_link_list *links)
{
	for (size_t i = 0; i < bridges->count; i++) {
		const struct nb_link *link = nb_link_find(links, bridges->items[i].name);

		if (link && !link->ingress.current)
			return true;
	}
	return false;
}

int nb_state_probe_ingress(struct nb_netlink *nl, uint32_t mark,
			   const struct nb_bridge_list *bridges, struct nb_state *state,
			   struct nb_error *err)
{
	int r;

	if (state->ingress != NB_INGRESS_UNASKED ||
	    (!lacks_ingress(bridges, &state->links) &&
	     !lacks_ingress(&state->bridges, &state->links)))
		return 0;
	r = nb_ingress_probe(nl, mark, state->ingress_why, sizeof(state->ingress_why));
	if (r >= 0) {
		state->ingress = NB_INGRESS_POSSIBLE;
		state->ingress_program = r;
	} else if (nb_ingress_is_impossible(r)) {
		state->ingress = NB_INGRESS_IMPOSSIBLE;
	} else {
		return nb_error_set(err, NB_STATUS_FAILED, -r, "kernel",
				    "prepare the ingress filter: %s", state->ingress_why);
	}
	return 0;
}

void nb_state_clear(struct nb_state *state)
{
	nb_bridge_list_clear(&state->bridges);
	nb_element_list_clear(&state->targets);
	nb_element_list_clear(&state->accepted);
	nb_link_list_clear(&state->links);
	if (state->ingress == NB_INGRESS_POSSIBLE)
		close(state->ingress_program);
	for (size_t i = 0; i < state->chain_count; i++) {
		free(state->chains[i].table);
		free(state->chains[i].name);
		free(state->chains[i].extra);
	}
	free(state->chains);
	for (size_t i = 0; i < state->dnat_count; i++) {
		free(state->dnats[i].table);
		free(state->dnats[i].chain);
	}
	free(state->dnats);
	memset(state, 0, sizeof(*state));
}
