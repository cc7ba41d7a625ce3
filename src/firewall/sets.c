/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Members of others' sets, asked for one by one. */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "chains.h"
#include "sets.h"

#define REQUEST_SIZE 1024

static int read_key_length(const struct nlmsghdr *message, void *data)
{
	struct nlattr *attr;

	mnl_attr_for_each(attr, message, sizeof(struct nfgenmsg)) {
		if (mnl_attr_get_type(attr) == NFTA_SET_KEY_LEN)
			*(uint32_t *)data = ntohl(mnl_attr_get_u32(attr));
	}
	return 0;
}

static uint32_t key_length(struct nb_netlink *nl, const struct nb_chain *chain, const char *set)
{
	char buffer[REQUEST_SIZE] = { 0 };
	struct nlmsghdr *request = nftnl_nlmsg_build_hdr(buffer, NFT_MSG_GETSET, chain->family, 0,
							 0);
	uint32_t length = 0;

	mnl_attr_put_strz(request, NFTA_SET_TABLE, chain->table);
	mnl_attr_put_strz(request, NFTA_SET_NAME, set);
	return nb_netlink_ask(nl, NETLINK_NETFILTER, request, read_key_length, &length, NULL) < 0
		       ? 0
		       : length;
}

/* What a map gives: a verdict, or a value. */
static void read_data(struct nlattr *nest, struct nb_member *member)
{
	struct nlattr *verdict, *attr;

	mnl_attr_for_each_nested(verdict, nest) {
		if (mnl_attr_get_type(verdict) == NFTA_DATA_VALUE &&
		    mnl_attr_get_payload_len(verdict) <= sizeof(member->data)) {
			member->data_length = mnl_attr_get_payload_len(verdict);
			memcpy(member->data, mnl_attr_get_payload(verdict), member->data_length);
		}
		if (mnl_attr_get_type(verdict) != NFTA_DATA_VERDICT)
			continue;
		mnl_attr_for_each_nested(attr, verdict) {
			if (mnl_attr_get_type(attr) == NFTA_VERDICT_CODE)
				member->verdict = (int)ntohl(mnl_attr_get_u32(attr));
			else if (mnl_attr_get_type(attr) == NFTA_VERDICT_CHAIN &&
				 mnl_attr_get_payload_len(attr) <= sizeof(member->chain))
				strcpy(member->chain, mnl_attr_get_str(attr));
		}
	}
}

/* The element that a key is in. */
struct element {
	struct nb_member member;
	uint8_t begins[NB_REGISTER_BYTES]; /* its own key */
};

/* May an element with this expression fail to match, as one of a limit does? */
static bool may_break(struct nlattr *expression)
{
	struct nlattr *attr;

	mnl_attr_for_each_nested(attr, expression) {
		if (mnl_attr_get_type(attr) == NFTA_EXPR_NAME)
			return strcmp(mnl_attr_get_str(attr), "counter") != 0 &&
			       strcmp(mnl_attr_get_str(attr), "last") != 0;
	}
	return true;
}

static void read_element(struct nlattr *nest, struct element *element)
{
	struct nb_member *member = &element->member;
	struct nlattr *attr, *inner;

	member->truth = NB_YES;
	member->verdict = NFT_CONTINUE;
	mnl_attr_for_each_nested(attr, nest) {
		switch (mnl_attr_get_type(attr)) {
		case NFTA_SET_ELEM_FLAGS:
			/* the end of an interval belongs to nothing */
			if (ntohl(mnl_attr_get_u32(attr)) & NFT_SET_ELEM_INTERVAL_END)
				member->truth = NB_NO;
			break;
		case NFTA_SET_ELEM_KEY:
			mnl_attr_for_each_nested(inner, attr) {
				if (mnl_attr_get_payload_len(inner) <= sizeof(element->begins))
					memcpy(element->begins, mnl_attr_get_payload(inner),
					       mnl_attr_get_payload_len(inner));
			}
			break;
		case NFTA_SET_ELEM_DATA:
			read_data(attr, member);
			break;
		case NFTA_SET_ELEM_EXPR:
			if (member->truth == NB_YES && may_break(attr))
				member->truth = NB_MAYBE;
			break;
		case NFTA_SET_ELEM_EXPRESSIONS:
			mnl_attr_for_each_nested(inner, attr) {
				if (member->truth == NB_YES && may_break(inner))
					member->truth = NB_MAYBE;
			}
		}
	}
}

static int read_member(const struct nlmsghdr *message, void *data)
{
	struct nlattr *list, *element;

	mnl_attr_for_each(list, message, sizeof(struct nfgenmsg)) {
		if (mnl_attr_get_type(list) != NFTA_SET_ELEM_LIST_ELEMENTS)
			continue;
		mnl_attr_for_each_nested(element, list) {
			read_element(element, data);
		}
	}
	return 0;
}

/* The chain of a verdict has to be there when the walk goes on in it. */
static void load_target(struct nb_set_reader *reader, const struct nb_chain *chain,
			struct nb_member *member)
{
	const struct nb_chain *target = nb_chain_find(reader->chains, chain, member->chain);
	struct nb_error ignored;

	if (!target || nb_chains_load(reader->nl, reader->chains,
				      (size_t)(target - reader->chains->items), &ignored) < 0)
		member->truth = NB_MAYBE;
}

/* The element of a key; or with no key the one for all that no other takes ("*"). */
static int get_element(struct nb_netlink *nl, const struct nb_chain *chain, const char *set,
		       const uint8_t *key, uint32_t length, struct element *ret)
{
	char buffer[REQUEST_SIZE] = { 0 };
	struct nlmsghdr *request = nftnl_nlmsg_build_hdr(buffer, NFT_MSG_GETSETELEM, chain->family,
							 0, 0);
	struct nlattr *list, *element, *nest;

	memset(ret, 0, sizeof(*ret));
	mnl_attr_put_strz(request, NFTA_SET_ELEM_LIST_TABLE, chain->table);
	mnl_attr_put_strz(request, NFTA_SET_ELEM_LIST_SET, set);
	list = mnl_attr_nest_start(request, NFTA_SET_ELEM_LIST_ELEMENTS);
	element = mnl_attr_nest_start(request, NFTA_LIST_ELEM);
	if (key) {
		nest = mnl_attr_nest_start(request, NFTA_SET_ELEM_KEY);
		mnl_attr_put(request, NFTA_DATA_VALUE, length, key);
		mnl_attr_nest_end(request, nest);
	} else {
		mnl_attr_put_u32(request, NFTA_SET_ELEM_FLAGS, htonl(NFT_SET_ELEM_CATCHALL));
	}
	mnl_attr_nest_end(request, element);
	mnl_attr_nest_end(request, list);
	return nb_netlink_ask(nl, NETLINK_NETFILTER, request, read_member, ret, NULL);
}

static void find_member(struct nb_set_reader *reader, const struct nb_chain *chain, const char *set,
			const uint8_t *key, uint32_t length, struct element *ret)
{
	int r = get_element(reader->nl, chain, set, key, length, ret);

	if (r == -ENOENT || (r == 0 && ret->member.truth == NB_NO)) {
		r = get_element(reader->nl, chain, set, NULL, 0, ret);
		/* kernels before 5.13 have no such element, and refuse the flag */
		if (r == -ENOENT || r == -EINVAL || r == -EOPNOTSUPP) {
			ret->member.truth = NB_NO;
			return;
		}
	}
	if (r < 0)
		ret->member.truth = NB_MAYBE;
	else if (ret->member.truth == NB_YES && ret->member.chain[0])
		load_target(reader, chain, &ret->member);
}

void nb_set_look_up(void *data, const struct nb_chain *chain, const char *set,
		    const struct nb_key *key, struct nb_member *ret)
{
	struct nb_set_reader *reader = data;
	uint32_t wanted = key_length(reader->nl, chain, set);
	struct element low, high;
	uint32_t all = UINT32_MAX;

	*ret = (struct nb_member){ .truth = NB_MAYBE };
	if (wanted == 0 || wanted > key->length)
		return;
	/* a network's addresses are in there if its first and its last are in one interval */
	if (wanted > key->known && (wanted != sizeof(all) || memcmp(key->high, &all, wanted) == 0))
		return;
	find_member(reader, chain, set, key->low, wanted, &low);
	if (wanted > key->known) {
		find_member(reader, chain, set, key->high, wanted, &high);
		if (low.member.truth != NB_YES || high.member.truth != NB_YES ||
		    memcmp(low.begins, high.begins, wanted) != 0)
			return;
	}
	*ret = low.member;
}
