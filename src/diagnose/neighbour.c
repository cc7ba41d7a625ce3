/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a container learns the bridge's hardware address: by ARP, which the host may be told not to
 * answer, and which passes a family of tables of its own. No packet of IP is seen then.
 */
#include <errno.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

/* behind netinet/in.h, which they would define anew */
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_arp.h>

#include "diagnose.h"

#define ANSWERS_NOBODY 8 /* of arp_ignore: for no address at all */

static bool read_ignore(const char *device)
{
	char path[96];
	FILE *file;
	int value;
	bool nobody;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/arp_ignore", device);
	file = fopen(path, "re");
	if (!file)
		return false;
	nobody = fscanf(file, "%d", &value) == 1 && value == ANSWERS_NOBODY;
	fclose(file);
	return nobody;
}

/* The kernel takes the larger of the device's value and that of all. */
static bool find_ignore(const struct nb_case *one, struct nb_port_trouble *ret)
{
	const char *const devices[] = { "all", one->bridge };

	for (size_t i = 0; i < 2; i++) {
		if (!read_ignore(devices[i]))
			continue;
		snprintf(ret->what, sizeof(ret->what),
			 "the host answers nobody who asks for the hardware address of %s: "
			 "net.ipv4.conf.%s.arp_ignore is %d",
			 one->bridge, devices[i], ANSWERS_NOBODY);
		snprintf(ret->mend, sizeof(ret->mend), "sysctl -w net.ipv4.conf.%s.arp_ignore=0",
			 devices[i]);
		return true;
	}
	return false;
}

/* --- Tables of family arp --- */

/* What is searched for: a base chain that drops, or that stands in a table where a rule does. */
struct search {
	bool dropping;		      /* a rule that drops is there, */
	char table[NB_OBSTACLE_NAME]; /* in this table */
	char chain[NB_OBSTACLE_NAME];
	uint64_t handle;
	bool found; /* the base chain */
	bool answers;
	bool policy; /* it is its policy that drops */
	char base_table[NB_OBSTACLE_NAME], base[NB_OBSTACLE_NAME];
};

static int read_rule(const struct nlmsghdr *message, void *data)
{
	struct nftnl_rule *rule = nftnl_rule_alloc();
	struct nftnl_expr_iter *iter;
	struct search *search = data;
	struct nftnl_expr *expr;

	if (!rule)
		return -ENOMEM;
	iter = nftnl_rule_nlmsg_parse(message, rule) < 0 ? NULL : nftnl_expr_iter_create(rule);
	while (iter && !search->dropping && (expr = nftnl_expr_iter_next(iter))) {
		if (strcmp(nftnl_expr_get_str(expr, NFTNL_EXPR_NAME), "immediate") != 0 ||
		    !nftnl_expr_is_set(expr, NFTNL_EXPR_IMM_VERDICT) ||
		    nftnl_expr_get_u32(expr, NFTNL_EXPR_IMM_VERDICT) != NF_DROP)
			continue;
		search->dropping = true;
		search->handle = nftnl_rule_get_u64(rule, NFTNL_RULE_HANDLE);
		snprintf(search->table, sizeof(search->table), "%s",
			 nftnl_rule_get_str(rule, NFTNL_RULE_TABLE));
		snprintf(search->chain, sizeof(search->chain), "%s",
			 nftnl_rule_get_str(rule, NFTNL_RULE_CHAIN));
	}
	if (iter)
		nftnl_expr_iter_destroy(iter);
	nftnl_rule_free(rule);
	return 0;
}

static int read_chain(const struct nlmsghdr *message, void *data)
{
	struct nftnl_chain *chain = nftnl_chain_alloc();
	struct search *search = data;
	const char *table, *name;
	uint32_t hook;
	bool policy;

	if (!chain)
		return -ENOMEM;
	if (nftnl_chain_nlmsg_parse(message, chain) == 0 &&
	    nftnl_chain_is_set(chain, NFTNL_CHAIN_HOOKNUM) && !search->policy) {
		hook = nftnl_chain_get_u32(chain, NFTNL_CHAIN_HOOKNUM);
		table = nftnl_chain_get_str(chain, NFTNL_CHAIN_TABLE);
		name = nftnl_chain_get_str(chain, NFTNL_CHAIN_NAME);
		policy = nftnl_chain_get_u32(chain, NFTNL_CHAIN_POLICY) == NF_DROP;
		if ((hook == NF_ARP_IN || hook == NF_ARP_OUT) &&
		    (policy || (search->dropping && strcmp(table, search->table) == 0))) {
			search->found = true;
			search->policy = policy;
			search->answers = hook == NF_ARP_OUT;
			snprintf(search->base_table, sizeof(search->base_table), "%s", table);
			snprintf(search->base, sizeof(search->base), "%s", name);
		}
	}
	nftnl_chain_free(chain);
	return 0;
}

static void dump(struct nb_diagnosis *diagnosis, uint16_t type,
		 int (*callback)(const struct nlmsghdr *message, void *data), struct search *search)
{
	char buffer[256] = { 0 };
	struct nlmsghdr *request = nftnl_nlmsg_build_hdr(buffer, type, NFPROTO_ARP, NLM_F_DUMP, 0);

	(void)nb_netlink_ask(diagnosis->nl, NETLINK_NETFILTER, request, callback, search, NULL);
}

/* It is read, and not walked: whether that rule is met only the table's owner can say. */
static bool find_table(struct nb_diagnosis *diagnosis, const struct nb_case *one,
		       struct nb_port_trouble *ret)
{
	struct search search = { 0 };

	dump(diagnosis, NFT_MSG_GETRULE, read_rule, &search);
	dump(diagnosis, NFT_MSG_GETCHAIN, read_chain, &search);
	if (!search.found)
		return false;
	if (search.policy)
		snprintf(ret->what, sizeof(ret->what),
			 "the policy of chain arp %s %s drops %s for the hardware address of %s",
			 search.base_table, search.base,
			 search.answers ? "answers to who asks" : "what asks", one->bridge);
	else
		snprintf(ret->what, sizeof(ret->what),
			 "rule %llu of chain arp %s %s drops %s for the hardware address of %s",
			 (unsigned long long)search.handle, search.table, search.chain,
			 search.answers ? "answers to who asks" : "what asks", one->bridge);
	snprintf(ret->mend, sizeof(ret->mend), "nft insert rule arp %.80s %.80s %s %s accept",
		 search.base_table, search.base, search.answers ? "oifname" : "iifname",
		 one->bridge);
	return true;
}

bool nb_find_neighbour_trouble(struct nb_diagnosis *diagnosis, const struct nb_case *one,
			       struct nb_port_trouble *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (!find_ignore(one, ret) && !find_table(diagnosis, one, ret))
		return false;
	ret->code = "arp";
	return true;
}
