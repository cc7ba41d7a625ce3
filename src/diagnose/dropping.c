/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Chains that drop something, found by reading alone: for the families and the namespaces into which
 * neither src/firewall nor a trace looks. Whether a packet meets that rule is not told by it.
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

#include "../firewall/tell.h"
#include "../model/text.h"
#include "diagnose.h"

struct search {
	uint32_t hooks;
	bool any; /* a rule that drops is there: the first of them */
	struct nb_dropping *found;
};

static bool is_drop(struct nftnl_expr *expr)
{
	return strcmp(nftnl_expr_get_str(expr, NFTNL_EXPR_NAME), "immediate") == 0 &&
	       nftnl_expr_is_set(expr, NFTNL_EXPR_IMM_VERDICT) &&
	       nftnl_expr_get_u32(expr, NFTNL_EXPR_IMM_VERDICT) == NF_DROP;
}

static int read_rule(const struct nlmsghdr *message, void *data)
{
	struct nftnl_rule *rule = nftnl_rule_alloc();
	struct search *search = data;
	struct nb_dropping *found = search->found;
	struct nftnl_expr_iter *iter;
	struct nftnl_expr *expr;

	if (!rule)
		return -ENOMEM;
	iter = nftnl_rule_nlmsg_parse(message, rule) < 0 ? NULL : nftnl_expr_iter_create(rule);
	while (iter && !search->any && (expr = nftnl_expr_iter_next(iter))) {
		if (!is_drop(expr))
			continue;
		search->any = true;
		found->handle = nftnl_rule_get_u64(rule, NFTNL_RULE_HANDLE);
		snprintf(found->table, sizeof(found->table), "%s",
			 nftnl_rule_get_str(rule, NFTNL_RULE_TABLE));
		snprintf(found->chain, sizeof(found->chain), "%s",
			 nftnl_rule_get_str(rule, NFTNL_RULE_CHAIN));
	}
	if (iter)
		nftnl_expr_iter_destroy(iter);
	nftnl_rule_free(rule);
	return 0;
}

/* A policy says more than a rule, which may be about anything. */
static void judge_chain(struct search *search, const struct nftnl_chain *chain)
{
	struct nb_dropping *found = search->found;
	const char *table = nftnl_chain_get_str(chain, NFTNL_CHAIN_TABLE);
	const char *name = nftnl_chain_get_str(chain, NFTNL_CHAIN_NAME);
	bool policy = nftnl_chain_get_u32(chain, NFTNL_CHAIN_POLICY) == NF_DROP;
	uint32_t hook = nftnl_chain_get_u32(chain, NFTNL_CHAIN_HOOKNUM);

	if (found->policy || hook >= 32 || !(search->hooks & UINT32_C(1) << hook) ||
	    !(policy || (search->any && strcmp(table, found->table) == 0)))
		return;
	found->policy = policy;
	found->hook = hook;
	snprintf(found->base_table, sizeof(found->base_table), "%s", table);
	snprintf(found->base, sizeof(found->base), "%s", name);
}

static int read_chain(const struct nlmsghdr *message, void *data)
{
	struct nftnl_chain *chain = nftnl_chain_alloc();

	if (!chain)
		return -ENOMEM;
	if (nftnl_chain_nlmsg_parse(message, chain) == 0 &&
	    nftnl_chain_is_set(chain, NFTNL_CHAIN_HOOKNUM))
		judge_chain(data, chain);
	nftnl_chain_free(chain);
	return 0;
}

bool nb_find_dropping(struct nb_netlink *nl, uint8_t family, uint32_t hooks,
		      struct nb_dropping *ret)
{
	static const struct {
		uint16_t type;
		int (*callback)(const struct nlmsghdr *message, void *data);
	} dumps[] = { { NFT_MSG_GETRULE, read_rule }, { NFT_MSG_GETCHAIN, read_chain } };
	struct search search = { .hooks = hooks, .found = ret };

	*ret = (struct nb_dropping){ .family = family };
	for (size_t i = 0; i < sizeof(dumps) / sizeof(dumps[0]); i++) {
		char buffer[256] = { 0 };
		struct nlmsghdr *request = nftnl_nlmsg_build_hdr(buffer, dumps[i].type, family,
								 NLM_F_DUMP, 0);

		(void)nb_netlink_ask(nl, NETLINK_NETFILTER, request, dumps[i].callback, &search,
				     NULL);
	}
	return ret->base[0];
}

const char *nb_dropping_text(const struct nb_dropping *dropping, char *buffer)
{
	const char *family = nb_family_name(dropping->family);
	char table[101], chain[101];

	nb_copy_line(table, sizeof(table),
		     dropping->policy ? dropping->base_table : dropping->table);
	nb_copy_line(chain, sizeof(chain), dropping->policy ? dropping->base : dropping->chain);
	if (dropping->policy)
		snprintf(buffer, NB_DROPPING_TEXT, "the policy of chain %s %s %s", family, table,
			 chain);
	else
		snprintf(buffer, NB_DROPPING_TEXT, "rule %llu of chain %s %s %s",
			 (unsigned long long)dropping->handle, family, table, chain);
	return buffer;
}
