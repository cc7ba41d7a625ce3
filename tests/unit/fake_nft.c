/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The nf_tables of the kernel in memory. What a batch creates is kept as the
 * message that created it, and a dump hands that message back, because the
 * kernel's answers have the same attributes as our requests. Only handles,
 * names of anonymous sets and expirations are filled in.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/table.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "fake_nft.h"
#include "nat-bridge/ruleset.h"
#include "unit.h"

#define NAME_SIZE 64

struct fake_object {
	uint8_t command; /* NFT_MSG_NEW* */
	uint8_t family;
	char table[NAME_SIZE];
	char name[NAME_SIZE]; /* of the chain or the set */
	uint64_t handle;
	void *data; /* the message, or of an element its attribute */
};

void *fake_keep(const void *data, size_t length, size_t room)
{
	void *copy = calloc(1, length + room);

	ck_assert_ptr_nonnull(copy);
	if (length)
		memcpy(copy, data, length);
	fake.heap = realloc(fake.heap, (fake.heap_count + 1) * sizeof(*fake.heap));
	ck_assert_ptr_nonnull(fake.heap);
	fake.heap[fake.heap_count++] = copy;
	return copy;
}

/* Attributes */

struct nlattr *fake_attr(const struct nlmsghdr *message, uint16_t type)
{
	struct nlattr *attr;

	mnl_attr_for_each(attr, message, sizeof(struct nfgenmsg))
		if (mnl_attr_get_type(attr) == type)
			return attr;
	return NULL;
}

struct nlattr *fake_nested(const struct nlattr *nest, uint16_t type)
{
	struct nlattr *attr;

	mnl_attr_for_each_nested(attr, nest)
		if (mnl_attr_get_type(attr) == type)
			return attr;
	return NULL;
}

const char *fake_text(const struct nlmsghdr *message, uint16_t type)
{
	const struct nlattr *attr = fake_attr(message, type);

	return attr ? mnl_attr_get_str(attr) : "";
}

uint8_t fake_family(const struct nlmsghdr *message)
{
	return ((const struct nfgenmsg *)mnl_nlmsg_get_payload(message))->nfgen_family;
}

/* The attribute that names the chain or set; tables are attribute 1 everywhere. */
uint16_t fake_name_attribute(uint8_t command)
{
	switch (command) {
	case NFT_MSG_NEWCHAIN:
	case NFT_MSG_DELCHAIN:
		return NFTA_CHAIN_NAME;
	default:
		return 2;
	}
}

/* Objects */

static struct fake_object *add_object(uint8_t command, uint8_t family, const char *table,
				      const char *name, void *data)
{
	struct fake_object *object;

	if (fake.object_count == fake.object_capacity) {
		fake.object_capacity = fake.object_capacity * 2 + 64;
		fake.objects = realloc(fake.objects, fake.object_capacity * sizeof(*object));
		ck_assert_ptr_nonnull(fake.objects);
	}
	object = &fake.objects[fake.object_count++];
	memset(object, 0, sizeof(*object));
	object->command = command;
	object->family = family;
	snprintf(object->table, sizeof(object->table), "%s", table);
	snprintf(object->name, sizeof(object->name), "%s", name);
	object->handle = fake.handle++;
	object->data = data;
	return object;
}

static void remove_object(size_t index)
{
	fake.object_count--;
	memmove(&fake.objects[index], &fake.objects[index + 1],
		(fake.object_count - index) * sizeof(*fake.objects));
}

/* Index of an object, SIZE_MAX if there is none. @name NULL: any. */
static size_t lookup(uint8_t command, uint8_t family, const char *table, const char *name)
{
	for (size_t i = 0; i < fake.object_count; i++)
		if (fake.objects[i].command == command && fake.objects[i].family == family &&
		    strcmp(fake.objects[i].table, table) == 0 &&
		    (!name || strcmp(fake.objects[i].name, name) == 0))
			return i;
	return SIZE_MAX;
}

static bool same_key(const struct nlattr *a, const struct nlattr *b)
{
	const struct nlattr *left = fake_nested(a, NFTA_SET_ELEM_KEY);
	const struct nlattr *right = fake_nested(b, NFTA_SET_ELEM_KEY);

	return mnl_attr_get_payload_len(left) == mnl_attr_get_payload_len(right) &&
	       memcmp(mnl_attr_get_payload(left), mnl_attr_get_payload(right),
		      mnl_attr_get_payload_len(left)) == 0;
}

static size_t lookup_element(const char *table, const char *set, const struct nlattr *element)
{
	for (size_t i = 0; i < fake.object_count; i++)
		if (fake.objects[i].command == NFT_MSG_NEWSETELEM &&
		    strcmp(fake.objects[i].table, table) == 0 &&
		    strcmp(fake.objects[i].name, set) == 0 &&
		    same_key(fake.objects[i].data, element))
			return i;
	return SIZE_MAX;
}

/* Batches */

/* The kernel numbers anonymous sets; a rule of the same batch means the last one. */
static void name_anonymous(struct nlmsghdr *message)
{
	static const char pattern[] = "__set%d";
	char *found = memmem(message, message->nlmsg_len, pattern, strlen(pattern));

	if (!found)
		return;
	if (FAKE_COMMAND(message) == NFT_MSG_NEWSET)
		fake.anonymous++;
	found[strlen(pattern) - 2] = (char)('0' + fake.anonymous / 10 % 10);
	found[strlen(pattern) - 1] = (char)('0' + fake.anonymous % 10);
}

static int change_elements(const struct nlmsghdr *message, uint32_t *ret_offset)
{
	const char *table = fake_text(message, NFTA_SET_ELEM_LIST_TABLE);
	const char *set = fake_text(message, NFTA_SET_ELEM_LIST_SET);
	bool add = FAKE_COMMAND(message) == NFT_MSG_NEWSETELEM;
	struct nlattr *attr;

	*ret_offset = (uint32_t)((const char *)fake_attr(message, NFTA_SET_ELEM_LIST_SET) -
				 (const char *)message);
	if (lookup(NFT_MSG_NEWSET, NFPROTO_INET, table, set) == SIZE_MAX)
		return -ENOENT;
	mnl_attr_for_each_nested(attr, fake_attr(message, NFTA_SET_ELEM_LIST_ELEMENTS)) {
		size_t index = lookup_element(table, set, attr);
		struct nlattr *timeout = fake_nested(attr, NFTA_SET_ELEM_TIMEOUT), *copy;

		*ret_offset = (uint32_t)((const char *)attr - (const char *)message);
		if (!add && index == SIZE_MAX)
			return -ENOENT;
		if (add && index != SIZE_MAX)
			return -EEXIST;
		if (!add) {
			remove_object(index);
			continue;
		}
		copy = fake_keep(attr, attr->nla_len, 2 * MNL_ATTR_HDRLEN + sizeof(uint64_t));
		if (timeout) {
			char *end = (char *)copy + copy->nla_len;

			memcpy(end, timeout, timeout->nla_len);
			((struct nlattr *)(void *)end)->nla_type = NFTA_SET_ELEM_EXPIRATION;
			copy->nla_len = (uint16_t)(copy->nla_len + timeout->nla_len);
		}
		add_object(NFT_MSG_NEWSETELEM, NFPROTO_INET, table, set, copy);
	}
	return 0;
}

static int change_rule(const struct nlmsghdr *message)
{
	const char *table = fake_text(message, NFTA_RULE_TABLE);
	const char *chain = fake_text(message, NFTA_RULE_CHAIN);
	struct fake_object object, *objects;
	struct nlmsghdr *copy;
	size_t first;

	if (lookup(NFT_MSG_NEWCHAIN, fake_family(message), table, chain) == SIZE_MAX)
		return -ENOENT;
	if (FAKE_COMMAND(message) == NFT_MSG_DELRULE) {
		uint64_t handle = be64toh(mnl_attr_get_u64(fake_attr(message, NFTA_RULE_HANDLE)));

		for (size_t i = 0; i < fake.object_count; i++) {
			if (fake.objects[i].command != NFT_MSG_NEWRULE ||
			    fake.objects[i].handle != handle)
				continue;
			remove_object(i);
			return 0;
		}
		return -ENOENT;
	}
	copy = fake_keep(message, message->nlmsg_len, 64);
	first = lookup(NFT_MSG_NEWRULE, fake_family(message), table, chain);
	object = *add_object(NFT_MSG_NEWRULE, fake_family(message), table, chain, copy);
	mnl_attr_put_u64(copy, NFTA_RULE_HANDLE, htobe64(object.handle));
	if (!(message->nlmsg_flags & NLM_F_APPEND) && first != SIZE_MAX) {
		objects = fake.objects;
		memmove(&objects[first + 1], &objects[first],
			(fake.object_count - 1 - first) * sizeof(object));
		objects[first] = object;
	}
	return 0;
}

static int create(const struct nlmsghdr *message)
{
	uint8_t command = FAKE_COMMAND(message);
	const char *name = command == NFT_MSG_NEWTABLE
				   ? ""
				   : fake_text(message, fake_name_attribute(command));
	const char *table = fake_text(message, 1);

	if (lookup(command, fake_family(message), table, name) != SIZE_MAX)
		return -EEXIST;
	if (command != NFT_MSG_NEWTABLE &&
	    lookup(NFT_MSG_NEWTABLE, fake_family(message), table, "") == SIZE_MAX)
		return -ENOENT;
	add_object(command, fake_family(message), table, name,
		   fake_keep(message, message->nlmsg_len, 0));
	return 0;
}

static int delete_table(uint8_t family, const char *table)
{
	if (lookup(NFT_MSG_NEWTABLE, family, table, "") == SIZE_MAX)
		return -ENOENT;
	for (size_t i = fake.object_count; i-- > 0;)
		if (fake.objects[i].family == family && strcmp(fake.objects[i].table, table) == 0)
			remove_object(i);
	return 0;
}

int fake_change(struct nlmsghdr *message, uint32_t *ret_offset)
{
	*ret_offset = 0;
	name_anonymous(message);
	switch (FAKE_COMMAND(message)) {
	case NFT_MSG_NEWTABLE:
	case NFT_MSG_NEWCHAIN:
	case NFT_MSG_NEWSET:
		return create(message);
	case NFT_MSG_DELTABLE:
		return delete_table(fake_family(message), fake_text(message, NFTA_TABLE_NAME));
	case NFT_MSG_NEWRULE:
	case NFT_MSG_DELRULE:
		return change_rule(message);
	case NFT_MSG_NEWSETELEM:
	case NFT_MSG_DELSETELEM:
		return change_elements(message, ret_offset);
	}
	return -EOPNOTSUPP;
}

static int answer_generation(callback_fn *callback, void *data)
{
	char buffer[256];
	struct nlmsghdr *message = nftnl_nlmsg_build_hdr(buffer, NFT_MSG_NEWGEN, AF_UNSPEC, 0, 0);

	mnl_attr_put_u32(message, NFTA_GEN_ID, htonl(fake.generation));
	return callback(message, data);
}

static int answer_objects(const struct nlmsghdr *request, uint8_t command, callback_fn *callback,
			  void *data)
{
	const char *table = fake_text(request, 1), *chain = "";
	int r = 0;

	if (command == NFT_MSG_NEWRULE)
		chain = fake_text(request, NFTA_RULE_CHAIN);
	for (size_t i = 0; r == 0 && i < fake.object_count; i++) {
		const struct fake_object *object = &fake.objects[i];

		if (object->command != command ||
		    (fake_family(request) != NFPROTO_UNSPEC &&
		     fake_family(request) != object->family) ||
		    (table[0] && strcmp(table, object->table) != 0) ||
		    (chain[0] && strcmp(chain, object->name) != 0))
			continue;
		r = callback(object->data, data);
	}
	return r;
}

/* Elements come a hundred to a message, so that more than one is seen. */
static int answer_elements(const struct nlmsghdr *request, callback_fn *callback, void *data)
{
	const struct nlattr *asked = fake_attr(request, NFTA_SET_ELEM_LIST_ELEMENTS);
	const char *table = fake_text(request, NFTA_SET_ELEM_LIST_TABLE);
	const char *set = fake_text(request, NFTA_SET_ELEM_LIST_SET);
	static char buffer[65536];
	struct nlmsghdr *message;
	struct nlattr *list;
	size_t i = 0, found = 0;
	int r = 0;

	if (lookup(NFT_MSG_NEWSET, NFPROTO_INET, table, set) == SIZE_MAX)
		return -ENOENT;
	while (r == 0 && i < fake.object_count) {
		message = nftnl_nlmsg_build_hdr(buffer, NFT_MSG_NEWSETELEM, NFPROTO_INET, 0, 0);
		list = mnl_attr_nest_start(message, NFTA_SET_ELEM_LIST_ELEMENTS);
		for (size_t n = 0; i < fake.object_count && n < 100; i++) {
			const struct fake_object *object = &fake.objects[i];
			const struct nlattr *attr = object->data;

			if (object->command != NFT_MSG_NEWSETELEM ||
			    strcmp(object->table, table) != 0 || strcmp(object->name, set) != 0)
				continue;
			if (asked && !same_key(attr, mnl_attr_get_payload(asked)))
				continue;
			mnl_attr_put(message, NFTA_LIST_ELEM | NLA_F_NESTED,
				     mnl_attr_get_payload_len(attr), mnl_attr_get_payload(attr));
			n++;
			found++;
		}
		mnl_attr_nest_end(message, list);
		r = callback(message, data);
	}
	return r == 0 && asked && !found ? -ENOENT : r;
}

int fake_answer(const struct nlmsghdr *request, callback_fn *callback, void *data)
{
	switch (FAKE_COMMAND(request)) {
	case NFT_MSG_GETGEN:
		return answer_generation(callback, data);
	case NFT_MSG_GETTABLE:
		return answer_objects(request, NFT_MSG_NEWTABLE, callback, data);
	case NFT_MSG_GETCHAIN:
		return answer_objects(request, NFT_MSG_NEWCHAIN, callback, data);
	case NFT_MSG_GETRULE:
		return answer_objects(request, NFT_MSG_NEWRULE, callback, data);
	case NFT_MSG_GETSET:
		return answer_objects(request, NFT_MSG_NEWSET, callback, data);
	case NFT_MSG_GETSETELEM:
		return answer_elements(request, callback, data);
	}
	return -EOPNOTSUPP;
}

static void change_now(struct nlmsghdr *message)
{
	uint32_t offset;

	ck_assert_int_eq(fake_change(message, &offset), 0);
	fake.generation++;
}

void fake_add_table(uint8_t family, const char *name, uint32_t flags, const char *comment)
{
	struct nftnl_udata_buf *udata = nftnl_udata_buf_alloc(NFTNL_UDATA_COMMENT_MAXLEN);
	struct nftnl_table *table = nftnl_table_alloc();
	char buffer[1024];
	struct nlmsghdr *message = nftnl_nlmsg_build_hdr(buffer, NFT_MSG_NEWTABLE, family, 0, 0);

	nftnl_table_set_str(table, NFTNL_TABLE_NAME, name);
	nftnl_table_set_u32(table, NFTNL_TABLE_FLAGS, flags);
	if (comment) {
		nftnl_udata_put_strz(udata, NFTNL_UDATA_TABLE_COMMENT, comment);
		nftnl_table_set_data(table, NFTNL_TABLE_USERDATA, nftnl_udata_buf_data(udata),
				     nftnl_udata_buf_len(udata));
	}
	nftnl_table_nlmsg_build_payload(message, table);
	nftnl_table_free(table);
	nftnl_udata_buf_free(udata);
	change_now(message);
}

void fake_add_chain(uint8_t family, const char *table, const char *name, const char *type,
		    uint32_t hook, int32_t priority, uint32_t policy)
{
	struct nftnl_chain *chain = nftnl_chain_alloc();
	char buffer[1024];
	struct nlmsghdr *message = nftnl_nlmsg_build_hdr(buffer, NFT_MSG_NEWCHAIN, family, 0, 0);

	nftnl_chain_set_str(chain, NFTNL_CHAIN_TABLE, table);
	nftnl_chain_set_str(chain, NFTNL_CHAIN_NAME, name);
	if (type) {
		nftnl_chain_set_str(chain, NFTNL_CHAIN_TYPE, type);
		nftnl_chain_set_u32(chain, NFTNL_CHAIN_HOOKNUM, hook);
		nftnl_chain_set_s32(chain, NFTNL_CHAIN_PRIO, priority);
		nftnl_chain_set_u32(chain, NFTNL_CHAIN_POLICY, policy);
	}
	nftnl_chain_nlmsg_build_payload(message, chain);
	nftnl_chain_free(chain);
	change_now(message);
}

uint64_t fake_add_rule(struct nftnl_rule *rule, bool append)
{
	static char buffer[16384];
	struct nlmsghdr *message = nftnl_nlmsg_build_hdr(
		buffer, NFT_MSG_NEWRULE, (uint16_t)nftnl_rule_get_u32(rule, NFTNL_RULE_FAMILY),
		append ? NLM_F_APPEND : 0, 0);

	nftnl_rule_nlmsg_build_payload(message, rule);
	nftnl_rule_free(rule);
	change_now(message);
	return fake.handle - 1;
}

void fake_add_unreadable_rule(uint8_t family, const char *table, const char *chain)
{
	struct nftnl_rule *rule = nftnl_rule_alloc();
	char buffer[1024], *name;
	struct nlmsghdr *message = nftnl_nlmsg_build_hdr(buffer, NFT_MSG_NEWRULE, family,
							 NLM_F_APPEND, 0);

	nftnl_rule_set_str(rule, NFTNL_RULE_TABLE, table);
	nftnl_rule_set_str(rule, NFTNL_RULE_CHAIN, chain);
	nftnl_rule_add_expr(rule, nftnl_expr_alloc("counter"));
	nftnl_rule_nlmsg_build_payload(message, rule);
	nftnl_rule_free(rule);
	name = memmem(buffer, message->nlmsg_len, "counter", strlen("counter"));
	ck_assert_ptr_nonnull(name);
	memcpy(name, "newer-x", strlen("counter"));
	change_now(message);
}

void fake_delete_table(uint8_t family, const char *name)
{
	ck_assert_int_eq(delete_table(family, name), 0);
	fake.generation++;
}

static void forget(uint8_t command, const char *name)
{
	bool found = false;

	for (size_t i = fake.object_count; i-- > 0;) {
		if (strcmp(fake.objects[i].table, NB_TABLE_NAME) != 0 ||
		    strcmp(fake.objects[i].name, name) != 0)
			continue;
		found |= fake.objects[i].command == command;
		remove_object(i);
	}
	ck_assert(found);
	fake.generation++;
}

void fake_delete_chain(const char *name)
{
	forget(NFT_MSG_NEWCHAIN, name);
}

void fake_delete_set(const char *name)
{
	forget(NFT_MSG_NEWSET, name);
}

void fake_delete_rule(uint8_t family, const char *table, const char *chain, size_t index)
{
	for (size_t i = 0; i < fake.object_count; i++) {
		if (fake.objects[i].command != NFT_MSG_NEWRULE ||
		    fake.objects[i].family != family || strcmp(fake.objects[i].table, table) != 0 ||
		    strcmp(fake.objects[i].name, chain) != 0 || index-- > 0)
			continue;
		remove_object(i);
		fake.generation++;
		return;
	}
	ck_abort_msg("no such rule in %s", chain);
}

size_t fake_count_rules(uint8_t family, const char *table, const char *chain)
{
	size_t count = 0;

	for (size_t i = 0; i < fake.object_count; i++)
		count += fake.objects[i].command == NFT_MSG_NEWRULE &&
			 fake.objects[i].family == family &&
			 strcmp(fake.objects[i].table, table) == 0 &&
			 strcmp(fake.objects[i].name, chain) == 0;
	return count;
}

size_t fake_expire(const char *set, const char *bridge)
{
	size_t count = 0;

	for (size_t i = fake.object_count; i-- > 0;) {
		const struct nlattr *key;

		if (fake.objects[i].command != NFT_MSG_NEWSETELEM ||
		    strcmp(fake.objects[i].name, set) != 0)
			continue;
		key = fake_nested(fake.objects[i].data, NFTA_SET_ELEM_KEY);
		key = fake_nested(key, NFTA_DATA_VALUE);
		if (strcmp(mnl_attr_get_payload(key), bridge) != 0)
			continue;
		remove_object(i);
		count++;
	}
	return count;
}

struct fake_object *fake_save(void)
{
	return fake_keep(fake.objects, fake.object_count * sizeof(*fake.objects), 1);
}

void fake_restore(const struct fake_object *objects, size_t count)
{
	memcpy(fake.objects, objects, count * sizeof(*objects));
	fake.object_count = count;
}
