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

static void read_verdict(const struct nlattr *nest, struct nb_member *member)
{
	struct nlattr *verdict, *attr;

	mnl_attr_for_each_nested(verdict, nest) {
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

static int read_member(const struct nlmsghdr *message, void *data)
{
	struct nlattr *list, *element, *attr;
	struct nb_member *member = data;

	mnl_attr_for_each(list, message, sizeof(struct nfgenmsg)) {
		if (mnl_attr_get_type(list) != NFTA_SET_ELEM_LIST_ELEMENTS)
			continue;
		mnl_attr_for_each_nested(element, list) {
			member->truth = NB_YES;
			member->verdict = NFT_CONTINUE;
			mnl_attr_for_each_nested(attr, element) {
				/* the end of an interval belongs to nothing */
				if (mnl_attr_get_type(attr) == NFTA_SET_ELEM_FLAGS &&
				    ntohl(mnl_attr_get_u32(attr)) & NFT_SET_ELEM_INTERVAL_END)
					member->truth = NB_NO;
				else if (mnl_attr_get_type(attr) == NFTA_SET_ELEM_DATA)
					read_verdict(attr, member);
			}
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

void nb_set_look_up(void *data, const struct nb_chain *chain, const char *set, const uint8_t *key,
		    size_t length, struct nb_member *ret)
{
	struct nb_set_reader *reader = data;
	char buffer[REQUEST_SIZE] = { 0 };
	struct nlmsghdr *request;
	struct nlattr *list, *element, *nest;
	uint32_t wanted = key_length(reader->nl, chain, set);
	int r;

	memset(ret, 0, sizeof(*ret));
	ret->truth = NB_MAYBE;
	if (wanted == 0 || wanted > length)
		return;
	request = nftnl_nlmsg_build_hdr(buffer, NFT_MSG_GETSETELEM, chain->family, 0, 0);
	mnl_attr_put_strz(request, NFTA_SET_ELEM_LIST_TABLE, chain->table);
	mnl_attr_put_strz(request, NFTA_SET_ELEM_LIST_SET, set);
	list = mnl_attr_nest_start(request, NFTA_SET_ELEM_LIST_ELEMENTS);
	element = mnl_attr_nest_start(request, NFTA_LIST_ELEM);
	nest = mnl_attr_nest_start(request, NFTA_SET_ELEM_KEY);
	mnl_attr_put(request, NFTA_DATA_VALUE, wanted, key);
	mnl_attr_nest_end(request, nest);
	mnl_attr_nest_end(request, element);
	mnl_attr_nest_end(request, list);
	r = nb_netlink_ask(reader->nl, NETLINK_NETFILTER, request, read_member, ret, NULL);
	if (r == -ENOENT)
		ret->truth = NB_NO;
	else if (r < 0)
		ret->truth = NB_MAYBE;
	else if (ret->truth == NB_YES && ret->chain[0])
		load_target(reader, chain, ret);
}
