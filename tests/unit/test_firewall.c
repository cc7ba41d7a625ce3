/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Others' rules, walked with what is known of a packet: accept, drop, or either. */
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tuple_common.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/xt_CT.h>
#include <linux/netfilter/xt_addrtype.h>
#include <linux/netfilter/xt_connmark.h>
#include <linux/netfilter/xt_conntrack.h>
#include <linux/netfilter/xt_mark.h>
#include <linux/netfilter/xt_multiport.h>
#include <linux/netfilter/xt_state.h>
#include <linux/netfilter/xt_tcpudp.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "firewall/text.h"
#include "firewall/walk.h"
#include "firewall/xtables.h"
#include "nft_rules.h"
#include "unit.h"

#define MARK   0x10000000u
#define ACCEPT NB_OUTCOME_ACCEPT
#define DROP   NB_OUTCOME_DROP
#define EITHER (NB_OUTCOME_ACCEPT | NB_OUTCOME_DROP)

static struct nb_chain chains[4];
static struct nb_chain_list list = { .items = chains };
static struct nb_walk walk;
static struct nb_member member;

static void teardown(void)
{
	for (size_t i = 0; i < COUNT(chains); i++) {
		for (size_t j = 0; j < chains[i].count; j++)
			if (chains[i].rules[j])
				nftnl_rule_free(chains[i].rules[j]);
		free(chains[i].rules);
	}
	memset(chains, 0, sizeof(chains));
	list.count = 0;
}

/* Chain "0" is the base chain; the others are what it jumps to. */
static void setup(void)
{
	static char table[] = "t", names[COUNT(chains)][2] = { "0", "1", "2", "3" };

	teardown();
	for (size_t i = 0; i < COUNT(chains); i++)
		chains[i] = (struct nb_chain){
			.family = NFPROTO_IPV4,
			.table = table,
			.name = names[i],
			.base = i == 0,
			.loaded = true,
		};
	list.count = COUNT(chains);
	walk = (struct nb_walk){ .chains = &list, .guarded = MARK };
	nb_packet_admitted(&walk.packet, NFPROTO_IPV4, MARK);
}

static void look_up(void *data, const struct nb_chain *chain, const char *set,
		    const struct nb_key *key, struct nb_member *ret)
{
	(void)data;
	(void)chain;
	(void)set;
	ck_assert_uint_ge(key->length, 4);
	*ret = member;
}

/* A new rule at the end of a chain. */
static struct nftnl_rule *rule_in(size_t chain)
{
	struct nftnl_rule *rule = nftnl_rule_alloc();

	ck_assert_int_eq(nb_chain_append(&chains[chain], rule), 0);
	return rule;
}

static void add_verdict(size_t chain, int verdict, const char *target)
{
	rule_add_verdict(rule_in(chain), verdict, target);
}

/* A condition that nobody can judge. */
static struct nftnl_rule *rule_maybe(size_t chain)
{
	struct nftnl_rule *rule = rule_in(chain);

	rule_add_meta(rule, NFT_META_SKUID);
	rule_add_compare(rule, NFT_CMP_EQ, "\0\0\0\1", 4);
	return rule;
}

static unsigned int outcome(void)
{
	nb_walk_chain(&walk, &chains[0], chains[0].count);
	return walk.outcomes;
}

/* --- Verdicts --- */

START_TEST(verdicts)
{
	static const struct {
		int verdict;
		const char *chain;
		unsigned int certain, maybe;
	} rows[] = {
		{ NF_ACCEPT, NULL, ACCEPT, ACCEPT },
		{ NF_DROP, NULL, DROP, EITHER },
		{ NF_QUEUE, NULL, EITHER, EITHER },
		{ NF_QUEUE_NR(3), NULL, EITHER, EITHER },
		{ NFT_CONTINUE, NULL, ACCEPT, ACCEPT },
		{ NFT_RETURN, NULL, ACCEPT, ACCEPT },
		{ NFT_JUMP, "1", DROP, EITHER },
		{ NFT_GOTO, "1", DROP, EITHER },
		/* a chain that is not there may do anything */
		{ NFT_JUMP, "9", EITHER, EITHER },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		setup();
		add_verdict(1, NF_DROP, NULL);
		add_verdict(0, rows[i].verdict, rows[i].chain);
		ck_assert_msg(outcome() == rows[i].certain, "row %zu: %u", i, walk.outcomes);
		setup();
		add_verdict(1, NF_DROP, NULL);
		rule_add_verdict(rule_maybe(0), rows[i].verdict, rows[i].chain);
		ck_assert_msg(outcome() == rows[i].maybe, "row %zu, maybe: %u", i, walk.outcomes);
	}
}
END_TEST

START_TEST(policies)
{
	chains[0].policy_drops = true;
	ck_assert_uint_eq(outcome(), DROP);
	ck_assert_ptr_null(walk.drop.rule);
	rule_add_verdict(rule_maybe(0), NF_ACCEPT, NULL);
	ck_assert_uint_eq(outcome(), EITHER);
	add_verdict(0, NF_ACCEPT, NULL);
	ck_assert_uint_eq(outcome(), ACCEPT);
	setup();
	chains[0].policy_drops = true;
	add_verdict(0, NFT_RETURN, NULL);
	add_verdict(0, NF_ACCEPT, NULL);
	ck_assert_uint_eq(outcome(), DROP);
}
END_TEST

/* Out of a chain by its end, a return, a goto: where does the packet go on? */
START_TEST(ways_back)
{
	add_verdict(0, NFT_JUMP, "1");
	add_verdict(0, NF_DROP, NULL);
	ck_assert_uint_eq(outcome(), DROP);
	add_verdict(1, NF_ACCEPT, NULL);
	ck_assert_uint_eq(outcome(), ACCEPT);

	setup();
	add_verdict(0, NFT_JUMP, "1");
	add_verdict(0, NF_DROP, NULL);
	add_verdict(1, NFT_GOTO, "2");
	add_verdict(1, NF_ACCEPT, NULL); /* never comes to that */
	ck_assert_uint_eq(outcome(), DROP);

	setup();
	add_verdict(0, NFT_GOTO, "1");
	add_verdict(0, NF_DROP, NULL); /* nor to that: the policy is next */
	ck_assert_uint_eq(outcome(), ACCEPT);
	rule_add_verdict(rule_maybe(1), NFT_RETURN, NULL);
	add_verdict(1, NF_DROP, NULL);
	ck_assert_uint_eq(outcome(), EITHER);
	ck_assert_ptr_eq(walk.drop.chain, &chains[1]);
	ck_assert_uint_eq(walk.drop.position, 1);

	/* a loop, which the kernel does not allow, ends */
	setup();
	add_verdict(0, NFT_JUMP, "1");
	add_verdict(1, NFT_JUMP, "1");
	ck_assert_uint_eq(outcome(), EITHER);
}
END_TEST

/* Chains of jumps each to the next, twice and only perhaps: the end is reached, and soon. */
START_TEST(many_ways)
{
	static char names[40][4], table[] = "t";
	struct nb_chain deep[COUNT(names)] = { 0 };
	struct nb_chain_list many = { .items = deep, .count = COUNT(deep) };

	for (size_t i = 0; i < COUNT(deep); i++) {
		struct nftnl_rule *rule;

		snprintf(names[i], sizeof(names[i]), "%zu", i);
		deep[i] = (struct nb_chain){ .table = table,
					     .name = names[i],
					     .base = i == 0,
					     .legacy = true,
					     .loaded = true };
		for (int j = 0; i && j < 2; j++) {
			rule = nftnl_rule_alloc();
			rule_add_meta(rule, NFT_META_SKUID);
			rule_add_compare(rule, NFT_CMP_EQ, "\0\0\0\1", 4);
			rule_add_verdict(rule, NFT_JUMP, names[i]);
			ck_assert_int_eq(nb_chain_append(&deep[i - 1], rule), 0);
		}
	}
	walk.chains = &many;
	nb_walk_chain(&walk, &deep[0], deep[0].count);
	ck_assert_uint_eq(walk.outcomes, ACCEPT);
	deep[COUNT(deep) - 1].rules = NULL;
	ck_assert_int_eq(nb_chain_append(&deep[COUNT(deep) - 1], NULL), 0);
	nb_walk_chain(&walk, &deep[0], deep[0].count);
	ck_assert_uint_eq(walk.outcomes, EITHER);
	ck_assert_ptr_eq(walk.drop.chain, &deep[COUNT(deep) - 1]);
	/* what a chain did to the mark is done again when it is remembered */
	ck_assert_uint_eq(walk.packet.mark_known, 0);
	for (size_t i = 0; i < COUNT(deep); i++) {
		for (size_t j = 0; j < deep[i].count; j++)
			if (deep[i].rules[j])
				nftnl_rule_free(deep[i].rules[j]);
		free(deep[i].rules);
	}
}
END_TEST

/* What an opener would see: rules before it, and no policy. */
START_TEST(beginnings)
{
	chains[0].policy_drops = true;
	rule_maybe(0);
	add_verdict(0, NF_DROP, NULL);
	nb_walk_chain(&walk, &chains[0], 1);
	ck_assert_uint_eq(walk.outcomes, NB_OUTCOME_CONTINUE);
	nb_walk_chain(&walk, &chains[0], 0);
	ck_assert_uint_eq(walk.outcomes, NB_OUTCOME_CONTINUE);
	setup();
	chains[0].policy_drops = true;
	rule_add_verdict(rule_maybe(0), NFT_RETURN, NULL);
	add_verdict(0, NF_ACCEPT, NULL);
	nb_walk_chain(&walk, &chains[0], 1);
	ck_assert_uint_eq(walk.outcomes, NB_OUTCOME_CONTINUE | DROP);
}
END_TEST

START_TEST(unreadable_rules)
{
	ck_assert_int_eq(nb_chain_append(&chains[0], NULL), 0);
	add_verdict(0, NF_ACCEPT, NULL);
	ck_assert_uint_eq(outcome(), EITHER);
	ck_assert_uint_eq(walk.packet.mark_known & MARK, 0);
	setup();
	chains[1].loaded = false;
	add_verdict(0, NFT_JUMP, "1");
	ck_assert_uint_eq(outcome(), EITHER);
}
END_TEST

/* --- Expressions --- */

START_TEST(expressions)
{
	static const struct {
		const char *name;
		unsigned int alone, accepting; /* and followed by accept, then drop */
	} rows[] = {
		{ "reject", DROP, DROP },	 { "fwd", DROP, DROP },
		{ "queue", EITHER, EITHER },	 { "synproxy", EITHER, EITHER },
		{ "tproxy", EITHER, EITHER },	 { "target", EITHER, EITHER },
		{ "nat", ACCEPT, ACCEPT },	 { "masq", ACCEPT, ACCEPT },
		{ "redir", ACCEPT, ACCEPT },	 { "counter", ACCEPT, ACCEPT },
		{ "log", ACCEPT, ACCEPT },	 { "dup", ACCEPT, ACCEPT },
		{ "last", ACCEPT, ACCEPT },	 { "notrack", ACCEPT, ACCEPT },
		{ "limit", ACCEPT, EITHER },	 { "quota", ACCEPT, EITHER },
		{ "connlimit", ACCEPT, EITHER }, { "dynset", ACCEPT, EITHER },
		{ "hash", ACCEPT, EITHER },	 { "numgen", ACCEPT, EITHER },
		{ "socket", ACCEPT, EITHER },	 { "rt", ACCEPT, EITHER },
		{ "exthdr", ACCEPT, EITHER },	 { "osf", ACCEPT, EITHER },
		{ "objref", EITHER, EITHER },	 { "match", ACCEPT, EITHER },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		setup();
		rule_add(rule_in(0), rows[i].name);
		ck_assert_msg(outcome() == rows[i].alone, "%s: %u", rows[i].name, walk.outcomes);
		setup();
		rule_add(rule_in(0), rows[i].name);
		rule_add_verdict(chains[0].rules[0], NF_ACCEPT, NULL);
		add_verdict(0, NF_DROP, NULL);
		ck_assert_msg(outcome() == rows[i].accepting, "%s accept: %u", rows[i].name,
			      walk.outcomes);
	}
}
END_TEST

static unsigned int object_outcome(uint32_t type)
{
	struct nftnl_expr *expr;

	setup();
	expr = rule_add(rule_in(0), "objref");
	nftnl_expr_set_u32(expr, NFTNL_EXPR_OBJREF_IMM_TYPE, type);
	rule_add_verdict(chains[0].rules[0], NF_ACCEPT, NULL);
	add_verdict(0, NF_DROP, NULL);
	return outcome();
}

START_TEST(named_objects)
{
	ck_assert_uint_eq(object_outcome(NFT_OBJECT_COUNTER), ACCEPT);
	ck_assert_uint_eq(object_outcome(NFT_OBJECT_QUOTA), EITHER);
	ck_assert_uint_eq(object_outcome(NFT_OBJECT_LIMIT), EITHER);
	ck_assert_uint_eq(object_outcome(NFT_OBJECT_SYNPROXY), EITHER);
}
END_TEST

/* One comparison of a loaded field; is what follows reached? */
static unsigned int compared(struct nftnl_rule *rule, uint32_t op, const void *data, size_t length)
{
	unsigned int result;

	rule_add_compare(rule, op, data, length);
	rule_add_verdict(rule, NF_DROP, NULL);
	result = outcome();
	setup();
	return result;
}

static struct nftnl_rule *with_daddr(uint32_t length)
{
	struct nftnl_rule *rule = rule_in(0);

	rule_add_payload(rule, NFT_PAYLOAD_NETWORK_HEADER, 16, length);
	return rule;
}

static struct nftnl_rule *with_meta(uint32_t key)
{
	struct nftnl_rule *rule = rule_in(0);

	rule_add_meta(rule, key);
	return rule;
}

static struct nftnl_rule *with_ct(uint32_t key)
{
	struct nftnl_rule *rule = rule_in(0);
	struct nftnl_expr *expr = rule_add(rule, "ct");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_KEY, key);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_DREG, NFT_REG_1);
	return rule;
}

static struct nftnl_rule *with_dialled(uint8_t direction)
{
	struct nftnl_rule *rule = rule_in(0);
	struct nftnl_expr *expr = rule_add(rule, "ct");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_KEY, NFT_CT_PROTO_DST);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_DREG, NFT_REG_1);
	nftnl_expr_set_u8(expr, NFTNL_EXPR_CT_DIR, direction);
	return rule;
}

START_TEST(comparisons)
{
	const uint32_t mark = MARK, none = 0, dnat = IPS_DST_NAT;
	struct nftnl_rule *rule;

	/* of the destination 8 bits are known */
	ck_assert_uint_eq(compared(with_daddr(1), NFT_CMP_EQ, "\x7f", 1), DROP);
	ck_assert_uint_eq(compared(with_daddr(1), NFT_CMP_NEQ, "\x7f", 1), ACCEPT);
	ck_assert_uint_eq(compared(with_daddr(1), NFT_CMP_LT, "\x7f", 1), ACCEPT);
	ck_assert_uint_eq(compared(with_daddr(1), NFT_CMP_LTE, "\x7f", 1), DROP);
	ck_assert_uint_eq(compared(with_daddr(1), NFT_CMP_GT, "\x7e", 1), DROP);
	ck_assert_uint_eq(compared(with_daddr(1), NFT_CMP_GTE, "\x80", 1), ACCEPT);
	ck_assert_uint_eq(compared(with_daddr(4), NFT_CMP_EQ, "\x7f\0\0\1", 4), EITHER);
	ck_assert_uint_eq(compared(with_daddr(4), NFT_CMP_EQ, "\x0a\0\0\1", 4), ACCEPT);
	ck_assert_uint_eq(compared(with_daddr(4), NFT_CMP_NEQ, "\x0a\0\0\1", 4), DROP);
	/* all of them are beyond that, or all before it, or some */
	ck_assert_uint_eq(compared(with_daddr(4), NFT_CMP_GT, "\x0a\0\0\1", 4), DROP);
	ck_assert_uint_eq(compared(with_daddr(4), NFT_CMP_LT, "\x7f\0\0\0", 4), ACCEPT);
	ck_assert_uint_eq(compared(with_daddr(4), NFT_CMP_LTE, "\x7f\0\0\0", 4), EITHER);
	ck_assert_uint_eq(compared(with_daddr(4), NFT_CMP_LTE, "\x7f\xff\xff\xff", 4), DROP);
	ck_assert_uint_eq(compared(with_daddr(4), NFT_CMP_GTE, "\x80\0\0\0", 4), ACCEPT);
	rule = with_daddr(4);
	rule_add_bitwise(rule, htonl(0xff000000), 0);
	ck_assert_uint_eq(compared(rule, NFT_CMP_EQ, "\x7f\0\0\0", 4), DROP);
	rule = with_daddr(4);
	rule_add_bitwise(rule, htonl(0xffff0000), 0);
	ck_assert_uint_eq(compared(rule, NFT_CMP_EQ, "\x7f\0\0\0", 4), EITHER);
	/* beyond the header, or what is not looked into */
	rule = rule_in(0);
	rule_add_payload(rule, NFT_PAYLOAD_NETWORK_HEADER, 20, 4);
	ck_assert_uint_eq(compared(rule, NFT_CMP_EQ, "\0\0\0\0", 4), EITHER);
	rule = rule_in(0);
	rule_add_payload(rule, NFT_PAYLOAD_TRANSPORT_HEADER, 13, 1);
	ck_assert_uint_eq(compared(rule, NFT_CMP_EQ, "\2", 1), EITHER);
	rule = rule_in(0);
	rule_add_payload(rule, NFT_PAYLOAD_LL_HEADER, 12, 2);
	ck_assert_uint_eq(compared(rule, NFT_CMP_EQ, "\x08\0", 2), DROP);
	/* ports, once they are known */
	rule = rule_in(0);
	rule_add_payload(rule, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2);
	ck_assert_uint_eq(compared(rule, NFT_CMP_EQ, "\0\x50", 2), EITHER);
	nb_packet_set_destination_port(&walk.packet, 80);
	rule = rule_in(0);
	rule_add_payload(rule, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2);
	ck_assert_uint_eq(compared(rule, NFT_CMP_EQ, "\0\x50", 2), DROP);

	ck_assert_uint_eq(compared(with_meta(NFT_META_NFPROTO), NFT_CMP_EQ, "\2", 1), DROP);
	ck_assert_uint_eq(compared(with_meta(NFT_META_NFPROTO), NFT_CMP_EQ, "\x0a", 1), ACCEPT);
	ck_assert_uint_eq(compared(with_meta(NFT_META_PROTOCOL), NFT_CMP_EQ, "\x08\0", 2), DROP);
	ck_assert_uint_eq(compared(with_meta(NFT_META_L4PROTO), NFT_CMP_EQ, "\6", 1), EITHER);
	nb_packet_set_protocol(&walk.packet, IPPROTO_TCP);
	ck_assert_uint_eq(compared(with_meta(NFT_META_L4PROTO), NFT_CMP_EQ, "\6", 1), DROP);
	ck_assert_uint_eq(compared(with_meta(NFT_META_IIFNAME), NFT_CMP_EQ, "lo\0", 3), EITHER);
	ck_assert_uint_eq(compared(with_meta(NFT_META_OIFNAME), NFT_CMP_EQ, "eth0", 5), ACCEPT);
	ck_assert_uint_eq(compared(with_meta(NFT_META_IIF), NFT_CMP_EQ, "\1\0\0\0", 4), EITHER);
	ck_assert_uint_eq(compared(with_meta(NFT_META_OIF), NFT_CMP_EQ, &none, 4), DROP);
	strcpy(walk.packet.in.name, "br-app");
	walk.packet.in.known = true;
	walk.packet.in.index = 7;
	/* also the beginning of a name, "br-*" */
	ck_assert_uint_eq(compared(with_meta(NFT_META_IIFNAME), NFT_CMP_EQ, "br-", 3), DROP);
	walk.packet.in = (struct nb_packet_device){ true, "br-app", 7 };
	ck_assert_uint_eq(compared(with_meta(NFT_META_IIF), NFT_CMP_EQ, "\1\0\0\0", 4), ACCEPT);

	ck_assert_uint_eq(compared(with_meta(NFT_META_MARK), NFT_CMP_EQ, &mark, 4), EITHER);
	rule = with_meta(NFT_META_MARK);
	rule_add_bitwise(rule, MARK, 0);
	ck_assert_uint_eq(compared(rule, NFT_CMP_EQ, &mark, 4), DROP);
	rule = with_meta(NFT_META_MARK);
	rule_add_bitwise(rule, MARK, MARK);
	ck_assert_uint_eq(compared(rule, NFT_CMP_EQ, &none, 4), DROP);

	rule = with_ct(NFT_CT_STATUS);
	rule_add_bitwise(rule, dnat, 0);
	ck_assert_uint_eq(compared(rule, NFT_CMP_NEQ, &none, 4), DROP);
	rule = with_ct(NFT_CT_STATE);
	rule_add_bitwise(rule, NF_CT_STATE_INVALID_BIT, 0);
	ck_assert_uint_eq(compared(rule, NFT_CMP_NEQ, &none, 4), ACCEPT);
	rule = with_ct(NFT_CT_STATE);
	rule_add_bitwise(rule, NF_CT_STATE_BIT(IP_CT_ESTABLISHED), 0);
	ck_assert_uint_eq(compared(rule, NFT_CMP_NEQ, &none, 4), EITHER);
	ck_assert_uint_eq(compared(with_ct(NFT_CT_DIRECTION), NFT_CMP_EQ, "\0", 1), DROP);
	ck_assert_uint_eq(compared(with_ct(NFT_CT_MARK), NFT_CMP_EQ, &none, 4), EITHER);
	/* which port of the two ways is asked for; and it may not be known */
	ck_assert_uint_eq(compared(with_dialled(IP_CT_DIR_ORIGINAL), NFT_CMP_EQ, "\0\x50", 2),
			  EITHER);
	walk.packet.ct_dialled = 80;
	ck_assert_uint_eq(compared(with_dialled(IP_CT_DIR_REPLY), NFT_CMP_EQ, "\0\x50", 2), EITHER);
	walk.packet.ct_dialled = 80;
	ck_assert_uint_eq(compared(with_dialled(IP_CT_DIR_ORIGINAL), NFT_CMP_EQ, "\0\x50", 2),
			  DROP);
	walk.packet.ct_dialled = 81;
	ck_assert_uint_eq(compared(with_dialled(IP_CT_DIR_ORIGINAL), NFT_CMP_EQ, "\0\x50", 2),
			  ACCEPT);
	/* a register that nobody filled */
	ck_assert_uint_eq(compared(rule_in(0), NFT_CMP_EQ, &none, 4), EITHER);
}
END_TEST

static unsigned int in_range(uint32_t op, const char *low, const char *high)
{
	struct nftnl_rule *rule = with_daddr(1);
	struct nftnl_expr *expr = rule_add(rule, "range");
	unsigned int result;

	nftnl_expr_set_u32(expr, NFTNL_EXPR_RANGE_SREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_RANGE_OP, op);
	nftnl_expr_set(expr, NFTNL_EXPR_RANGE_FROM_DATA, low, 1);
	nftnl_expr_set(expr, NFTNL_EXPR_RANGE_TO_DATA, high, 1);
	rule_add_verdict(rule, NF_DROP, NULL);
	result = outcome();
	setup();
	return result;
}

START_TEST(ranges)
{
	ck_assert_uint_eq(in_range(NFT_RANGE_EQ, "\x70", "\x7f"), DROP);
	ck_assert_uint_eq(in_range(NFT_RANGE_EQ, "\x70", "\x7e"), ACCEPT);
	ck_assert_uint_eq(in_range(NFT_RANGE_NEQ, "\x70", "\x7e"), DROP);
}
END_TEST

static unsigned int looked_up(uint32_t flags, uint32_t dreg, bool with_answer)
{
	struct nftnl_rule *rule = with_meta(NFT_META_PROTOCOL);
	struct nftnl_expr *expr = rule_add(rule, "lookup");
	unsigned int result;

	nftnl_expr_set_u32(expr, NFTNL_EXPR_LOOKUP_SREG, NFT_REG_1);
	nftnl_expr_set_str(expr, NFTNL_EXPR_LOOKUP_SET, "some");
	nftnl_expr_set_u32(expr, NFTNL_EXPR_LOOKUP_FLAGS, flags);
	if (dreg != UINT32_MAX)
		nftnl_expr_set_u32(expr, NFTNL_EXPR_LOOKUP_DREG, dreg);
	if (dreg != NFT_REG_VERDICT)
		rule_add_verdict(rule, NF_DROP, NULL);
	add_verdict(1, NF_DROP, NULL);
	walk.look_up = with_answer ? look_up : NULL;
	result = outcome();
	setup();
	return result;
}

START_TEST(lookups)
{
	member = (struct nb_member){ .truth = NB_YES, .verdict = NFT_CONTINUE };
	ck_assert_uint_eq(looked_up(0, UINT32_MAX, false), EITHER);
	ck_assert_uint_eq(looked_up(0, UINT32_MAX, true), DROP);
	ck_assert_uint_eq(looked_up(NFT_LOOKUP_F_INV, UINT32_MAX, true), ACCEPT);
	ck_assert_uint_eq(looked_up(0, NFT_REG_2, true), DROP);
	ck_assert_uint_eq(looked_up(0, NFT_REG_VERDICT, false), EITHER);
	ck_assert_uint_eq(looked_up(0, NFT_REG_VERDICT, true), ACCEPT);
	member.verdict = NF_DROP;
	ck_assert_uint_eq(looked_up(0, NFT_REG_VERDICT, true), DROP);
	member.verdict = NFT_JUMP;
	strcpy(member.chain, "1");
	ck_assert_uint_eq(looked_up(0, NFT_REG_VERDICT, true), DROP);
	member = (struct nb_member){ .truth = NB_NO };
	ck_assert_uint_eq(looked_up(0, UINT32_MAX, true), ACCEPT);
	ck_assert_uint_eq(looked_up(0, NFT_REG_VERDICT, true), ACCEPT);
}
END_TEST

static unsigned int address_type(uint32_t flags, uint32_t type)
{
	struct nftnl_rule *rule = rule_in(0);
	struct nftnl_expr *expr = rule_add(rule, "fib");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_FIB_DREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_FIB_FLAGS, flags);
	return compared(rule, NFT_CMP_EQ, &type, sizeof(type));
}

START_TEST(types_of_addresses)
{
	ck_assert_uint_eq(address_type(NFTA_FIB_F_DADDR, RTN_LOCAL), DROP);
	/* 127/8 is lo's, and these come from a bridge */
	ck_assert_uint_eq(address_type(NFTA_FIB_F_DADDR | NFTA_FIB_F_IIF, RTN_LOCAL), ACCEPT);
	ck_assert_uint_eq(address_type(NFTA_FIB_F_DADDR | NFTA_FIB_F_IIF, RTN_UNICAST), DROP);
	/* an address of whichever device */
	nb_packet_set_destination(&walk.packet, 0xac1e0001, 32);
	ck_assert_uint_eq(address_type(NFTA_FIB_F_DADDR | NFTA_FIB_F_IIF, RTN_LOCAL), EITHER);
	ck_assert_uint_eq(address_type(NFTA_FIB_F_SADDR | NFTA_FIB_F_IIF, RTN_UNICAST), DROP);
	ck_assert_uint_eq(address_type(NFTA_FIB_F_SADDR, RTN_LOCAL), ACCEPT);
	ck_assert_uint_eq(address_type(NFTA_FIB_F_SADDR | NFTA_FIB_F_MARK, RTN_LOCAL), EITHER);
}
END_TEST

START_TEST(byte_orders)
{
	uint32_t state = NF_CT_STATE_BIT(IP_CT_NEW), turned = htonl(state);
	struct nftnl_rule *rule = with_ct(NFT_CT_STATE);
	struct nftnl_expr *expr = rule_add(rule, "byteorder");

	walk.packet.ct_state = state;
	walk.packet.ct_state_known = UINT32_MAX;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BYTEORDER_SREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BYTEORDER_DREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BYTEORDER_OP, NFT_BYTEORDER_HTON);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BYTEORDER_LEN, 4);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BYTEORDER_SIZE, 4);
	ck_assert_uint_eq(compared(rule, NFT_CMP_EQ, &turned, sizeof(turned)), DROP);
}
END_TEST

/* --- Marks and tracking --- */

static void set_mark_to(struct nftnl_rule *rule, uint32_t value)
{
	struct nftnl_expr *expr = rule_add(rule, "immediate");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_DREG, NFT_REG_1);
	nftnl_expr_set(expr, NFTNL_EXPR_IMM_DATA, &value, sizeof(value));
	expr = rule_add(rule, "meta");
	nftnl_expr_set_u32(expr, NFTNL_EXPR_META_KEY, NFT_META_MARK);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_META_SREG, NFT_REG_1);
}

static void add_target(struct nftnl_rule *rule, const char *name, uint32_t revision,
		       const void *info, size_t length)
{
	struct nftnl_expr *expr = rule_add(rule, "target");
	void *copy = malloc(length); /* the expression will own it */

	memcpy(copy, info, length);
	nftnl_expr_set_str(expr, NFTNL_EXPR_TG_NAME, name);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_TG_REV, revision);
	nftnl_expr_set(expr, NFTNL_EXPR_TG_INFO, copy, (uint32_t)length);
}

START_TEST(marks)
{
	const struct xt_mark_tginfo2 clear = { .mark = 0, .mask = MARK },
				     other = { .mark = 1, .mask = 0xff },
				     third = { .mark = 2, .mask = 0xff };

	set_mark_to(rule_in(0), 5);
	ck_assert_uint_eq(outcome(), ACCEPT);
	ck_assert_uint_eq(walk.packet.mark, 5);
	ck_assert_uint_eq(walk.packet.mark_known, UINT32_MAX);
	ck_assert_ptr_eq(walk.remarked.rule, chains[0].rules[0]);
	/* perhaps: our bit is not known any more */
	setup();
	set_mark_to(rule_maybe(0), 5);
	outcome();
	ck_assert_uint_eq(walk.packet.mark_known & MARK, 0);
	/* perhaps to what it is: it stays known */
	setup();
	set_mark_to(rule_maybe(0), MARK);
	outcome();
	ck_assert_uint_eq(walk.packet.mark & walk.packet.mark_known, MARK);
	ck_assert_ptr_null(walk.remarked.chain);
	/* those who left before keep theirs */
	setup();
	rule_add_verdict(rule_maybe(0), NF_ACCEPT, NULL);
	set_mark_to(rule_in(0), 5);
	outcome();
	ck_assert_uint_eq(walk.packet.mark_known & MARK, 0);

	setup();
	add_target(rule_in(0), "MARK", 2, &clear, sizeof(clear));
	outcome();
	ck_assert_uint_eq(walk.packet.mark & MARK, 0);
	ck_assert_uint_ne(walk.packet.mark_known & MARK, 0);
	setup();
	add_target(rule_in(0), "MARK", 2, &other, sizeof(other));
	outcome();
	ck_assert_uint_eq(walk.packet.mark & walk.packet.mark_known, MARK | 1);
	ck_assert_ptr_null(walk.remarked.chain);
	/* others' bits are theirs, also when they were known and are so no more */
	add_target(rule_in(0), "MARK", 2, &third, sizeof(third));
	outcome();
	ck_assert_uint_eq(walk.packet.mark & walk.packet.mark_known, MARK | 2);
	ck_assert_ptr_null(walk.remarked.chain);
	/* behind what may drop, and may not */
	setup();
	rule_add(rule_in(0), "queue");
	set_mark_to(rule_in(0), 5);
	outcome();
	ck_assert_uint_eq(walk.packet.mark_known & MARK, 0);
	setup();
	add_target(rule_in(0), "MARK", 1, &other, sizeof(other));
	outcome();
	ck_assert_uint_eq(walk.packet.mark_known & MARK, 0);
}
END_TEST

static void add_connmark(struct nftnl_rule *rule, uint32_t revision, uint8_t mode, uint32_t ctmark,
			 uint32_t ctmask, uint32_t nfmask)
{
	struct xt_connmark_tginfo1 first = { ctmark, ctmask, nfmask, mode };
	struct xt_connmark_tginfo2 second = { ctmark, ctmask, nfmask, .mode = mode };

	add_target(rule, "CONNMARK", revision, revision == 1 ? (void *)&first : (void *)&second,
		   revision == 1 ? sizeof(first) : sizeof(second));
}

/* What is known of the packet's mark when @value was saved and then restored. */
static uint32_t restored(uint32_t revision, uint32_t value, uint32_t mask)
{
	setup();
	set_mark_to(rule_in(0), value);
	add_connmark(rule_in(0), revision, XT_CONNMARK_SAVE, 0, UINT32_MAX, UINT32_MAX);
	set_mark_to(rule_in(0), 0);
	add_connmark(rule_in(0), revision, XT_CONNMARK_RESTORE, 0, mask, mask);
	outcome();
	ck_assert_uint_eq(walk.packet.mark_known, UINT32_MAX);
	return walk.packet.mark;
}

START_TEST(marks_of_connections)
{
	const uint32_t five = 5;

	for (uint32_t revision = 1; revision <= 2; revision++) {
		ck_assert_uint_eq(restored(revision, 0x105, UINT32_MAX), 0x105);
		ck_assert_uint_eq(restored(revision, 0x105, 0xff), 5);
		/* nobody knows what the connection has */
		setup();
		add_connmark(rule_in(0), revision, XT_CONNMARK_RESTORE, 0, UINT32_MAX, UINT32_MAX);
		outcome();
		ck_assert_uint_eq(walk.packet.mark_known, 0);
		ck_assert_ptr_eq(walk.remarked.rule, chains[0].rules[0]);
		/* one that has none yet: ours is lost */
		setup();
		walk.packet.ct_mark_known = UINT32_MAX;
		add_connmark(rule_in(0), revision, XT_CONNMARK_RESTORE, 0, UINT32_MAX, UINT32_MAX);
		outcome();
		ck_assert_uint_eq(walk.packet.mark & MARK, 0);
		ck_assert_uint_ne(walk.packet.mark_known & MARK, 0);
		/* bits beside ours */
		setup();
		add_connmark(rule_in(0), revision, XT_CONNMARK_SET, 0x5, 0xff, 0);
		add_connmark(rule_in(0), revision, XT_CONNMARK_RESTORE, 0, 0xff, 0xff);
		outcome();
		ck_assert_uint_eq(walk.packet.mark & walk.packet.mark_known, MARK | 5);
		ck_assert_ptr_null(walk.remarked.chain);
		/* bits outside of the mask are flipped: those of ours, if the connection has them */
		setup();
		add_connmark(rule_in(0), revision, XT_CONNMARK_SET, MARK, UINT32_MAX, 0);
		add_connmark(rule_in(0), revision, XT_CONNMARK_RESTORE, 0, UINT32_MAX, 0xff);
		outcome();
		ck_assert_uint_eq(walk.packet.mark_known & MARK, 0);
		/* where there is no connection it does nothing */
		setup();
		walk.packet.ct_state_known = 0;
		add_connmark(rule_in(0), revision, XT_CONNMARK_RESTORE, 0, UINT32_MAX, UINT32_MAX);
		outcome();
		ck_assert_uint_eq(walk.packet.mark & walk.packet.mark_known, MARK);
	}
	/* set by some, and asked for: by nf_tables, and by iptables */
	for (int sure = 0; sure < 2; sure++) {
		struct nftnl_rule *rule;
		struct nftnl_expr *expr;

		setup();
		walk.packet.ct_mark_known = UINT32_MAX;
		rule = sure ? rule_in(0) : rule_maybe(0);
		expr = rule_add(rule, "immediate");
		nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_DREG, NFT_REG_1);
		nftnl_expr_set(expr, NFTNL_EXPR_IMM_DATA, &five, sizeof(five));
		expr = rule_add(rule, "ct");
		nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_KEY, NFT_CT_MARK);
		nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_SREG, NFT_REG_1);
		rule = with_ct(NFT_CT_MARK);
		rule_add_compare(rule, NFT_CMP_EQ, &five, sizeof(five));
		rule_add_verdict(rule, NF_DROP, NULL);
		ck_assert_uint_eq(outcome(), sure ? DROP : EITHER);
	}
	walk.packet.ct_mark = 5;
	walk.packet.ct_mark_known = UINT32_MAX;
	for (uint8_t inverted = 0; inverted < 2; inverted++) {
		struct xt_connmark_mtinfo1 match = { 5, 0xff, inverted };

		ck_assert_int_eq(nb_xt_match(&walk.packet, "connmark", 1, &match, sizeof(match)),
				 inverted ? NB_NO : NB_YES);
	}
	walk.packet.ct_state_known = 0;
	ck_assert_int_eq(nb_xt_match(&walk.packet, "connmark", 1,
				     &(struct xt_connmark_mtinfo1){ 0 },
				     sizeof(struct xt_connmark_mtinfo1)),
			 NB_MAYBE);
}
END_TEST

/* Jumps to one chain with other marks, and with one that it has seen. */
START_TEST(ways_with_marks)
{
	static const uint32_t values[] = { 1, 2, 2, 1, 3 };
	struct nftnl_rule *rule;

	for (size_t i = 0; i < COUNT(values); i++) {
		setup();
		rule = rule_in(1);
		rule_add_meta(rule, NFT_META_MARK);
		rule_add_compare(rule, NFT_CMP_EQ, &values[COUNT(values) - 1], sizeof(values[0]));
		rule_add_verdict(rule, NF_DROP, NULL);
		set_mark_to(rule_in(1), 7);
		for (size_t j = 0; j <= i; j++) {
			set_mark_to(rule_in(0), values[j]);
			add_verdict(0, NFT_JUMP, "1");
		}
		ck_assert_uint_eq(outcome(), values[i] == 3 ? DROP : ACCEPT);
		ck_assert_uint_eq(walk.packet.mark, values[i] == 3 ? 3 : 7);
	}
}
END_TEST

START_TEST(tracking)
{
	const struct xt_ct_target_info untrack = { .flags = XT_CT_NOTRACK };

	add_target(rule_maybe(0), "CT", 1, &untrack, sizeof(untrack));
	outcome();
	ck_assert_int_eq(walk.is_untracked, NB_MAYBE);
	rule_add(rule_in(0), "notrack");
	outcome();
	ck_assert_int_eq(walk.is_untracked, NB_YES);
	ck_assert_uint_eq(walk.untracked.position, 1);
}
END_TEST

static void add_zone(struct nftnl_rule *rule, uint16_t id, int direction)
{
	struct nftnl_expr *expr = rule_add(rule, "immediate");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_DREG, NFT_REG_1);
	nftnl_expr_set(expr, NFTNL_EXPR_IMM_DATA, &id, sizeof(id));
	expr = rule_add(rule, "ct");
	nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_KEY, NFT_CT_ZONE);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_SREG, NFT_REG_1);
	if (direction >= 0)
		nftnl_expr_set_u8(expr, NFTNL_EXPR_CT_DIR, (uint8_t)direction);
}

START_TEST(zones)
{
	static const struct {
		int direction; /* of nf_tables; -1: both */
		uint16_t flags;
		uint16_t id; /* that answers have */
	} rows[] = {
		{ -1, 0, 5 },
		{ IP_CT_DIR_REPLY, XT_CT_ZONE_DIR_REPL, 5 },
		{ IP_CT_DIR_ORIGINAL, XT_CT_ZONE_DIR_ORIG, 0 },
		{ -1, XT_CT_ZONE_DIR_ORIG | XT_CT_ZONE_DIR_REPL, 5 },
	};
	const struct xt_ct_target_info untrack = { .flags = XT_CT_NOTRACK };
	const struct xt_ct_target_info by_mark = { .flags = XT_CT_ZONE_MARK };

	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct xt_ct_target_info zone = { .flags = rows[i].flags, .zone = 5 };

		for (int xt = 0; xt < 2; xt++) {
			setup();
			if (xt)
				add_target(rule_in(0), "CT", 1, &zone, sizeof(zone));
			else
				add_zone(rule_in(0), 5, rows[i].direction);
			/* the first one is it, and hides it from those that come later */
			add_zone(rule_in(0), 6, -1);
			add_target(rule_in(0), "CT", 1, &untrack, sizeof(untrack));
			ck_assert_uint_eq(outcome(), ACCEPT);
			ck_assert_msg(walk.zone.set == NB_YES && walk.zone.known &&
					      walk.zone.id == rows[i].id &&
					      walk.zone.place.position == 0,
				      "row %zu: %d, %u", i, walk.zone.set, walk.zone.id);
			ck_assert_int_eq(walk.is_untracked, NB_NO);
		}
	}
	/* some have one; others another */
	setup();
	add_zone(rule_maybe(0), 5, -1);
	add_zone(rule_in(0), 6, -1);
	outcome();
	ck_assert_int_eq(walk.zone.set, NB_MAYBE);
	/* what is not tracked has none */
	setup();
	rule_add(rule_in(0), "notrack");
	add_zone(rule_in(0), 5, -1);
	outcome();
	ck_assert_int_eq(walk.zone.set, NB_NO);
	/* the mark's, if that is known */
	setup();
	add_target(rule_in(0), "CT", 1, &by_mark, sizeof(by_mark));
	outcome();
	ck_assert(!walk.zone.known);
	setup();
	set_mark_to(rule_in(0), 0x10007);
	add_target(rule_in(0), "CT", 1, &by_mark, sizeof(by_mark));
	outcome();
	ck_assert(walk.zone.known);
	ck_assert_uint_eq(walk.zone.id, 7);
}
END_TEST

/* --- Other courses --- */

static void add_load(struct nftnl_rule *rule, uint32_t number, const void *data, uint32_t length)
{
	struct nftnl_expr *expr = rule_add(rule, "immediate");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_DREG, number);
	nftnl_expr_set(expr, NFTNL_EXPR_IMM_DATA, data, length);
}

/* A packet to port 80 of the host, which is to become one to 127.0.0.1:8080. */
static void set_course(void)
{
	setup();
	nb_packet_init(&walk.packet, NFPROTO_IPV4);
	nb_packet_set_destination_port(&walk.packet, 80);
	nb_packet_set_source(&walk.packet, 0xac1e0000, 24);
	walk.packet.ct_dialled = 80;
	walk.packet.destination_type = RTN_LOCAL;
	walk.packet.ct_state_known = UINT32_MAX;
	walk.course.target = (struct nb_target){ .address = INADDR_LOOPBACK, .port = 8080 };
	walk.course.fixed = NB_FIELD_ALL;
}

/* A rule that translates to addresses and ports from, to; 0: none. */
static void add_nat(struct nftnl_rule *rule, uint32_t type, const uint32_t *addresses,
		    const uint16_t *ports)
{
	static const uint16_t registers[] = { NFT_REG32_00, NFT_REG32_01, NFT_REG32_02,
					      NFT_REG32_03 };
	struct nftnl_expr *expr;
	uint32_t address;
	uint16_t port;

	for (size_t i = 0; i < 2; i++) {
		address = htonl(addresses[i]);
		port = htons(ports[i]);
		add_load(rule, registers[i], &address, sizeof(address));
		add_load(rule, registers[2 + i], &port, sizeof(port));
	}
	expr = rule_add(rule, "nat");
	nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_TYPE, type);
	for (uint16_t i = 0; i < 2; i++) {
		if (addresses[i])
			nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_REG_ADDR_MIN + i, registers[i]);
		if (ports[i])
			nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_REG_PROTO_MIN + i,
					   registers[2 + i]);
	}
}

START_TEST(translations)
{
	static const struct {
		uint32_t addresses[2];
		uint16_t ports[2];
		enum nb_truth truth;
	} rows[] = {
		{ { INADDR_LOOPBACK }, { 8080 }, NB_NO },
		{ { INADDR_LOOPBACK, INADDR_LOOPBACK }, { 8080, 8080 }, NB_NO },
		{ { INADDR_LOOPBACK }, { 8081 }, NB_YES },
		{ { INADDR_LOOPBACK }, { 0 }, NB_YES },
		{ { INADDR_LOOPBACK + 1 }, { 8080 }, NB_YES },
		{ { 0 }, { 8080 }, NB_YES },
		{ { INADDR_LOOPBACK, INADDR_LOOPBACK + 9 }, { 8080 }, NB_MAYBE },
		{ { INADDR_LOOPBACK }, { 8000, 8100 }, NB_MAYBE },
		{ { INADDR_LOOPBACK + 1, INADDR_LOOPBACK + 9 }, { 8080 }, NB_YES },
		{ { INADDR_LOOPBACK }, { 8081, 8100 }, NB_YES },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		set_course();
		add_nat(rule_in(0), NFT_NAT_DNAT, rows[i].addresses, rows[i].ports);
		ck_assert_msg(outcome() == ACCEPT, "row %zu", i);
		ck_assert_msg(walk.diversion.truth == rows[i].truth, "row %zu: %d", i,
			      walk.diversion.truth);
		/* some of them; of the source; and where nobody knows which port was dialled */
		set_course();
		add_nat(rule_maybe(0), NFT_NAT_DNAT, rows[i].addresses, rows[i].ports);
		outcome();
		ck_assert_msg(walk.diversion.truth == (rows[i].truth ? NB_MAYBE : NB_NO),
			      "row %zu, maybe: %d", i, walk.diversion.truth);
		set_course();
		add_nat(rule_in(0), NFT_NAT_SNAT, rows[i].addresses, rows[i].ports);
		outcome();
		ck_assert_int_eq(walk.diversion.truth, NB_NO);
		set_course();
		walk.course.target.port = 0;
		add_nat(rule_in(0), NFT_NAT_DNAT, rows[i].addresses, rows[i].ports);
		outcome();
		ck_assert_int_eq(walk.diversion.truth, NB_MAYBE);
	}
	set_course();
	add_nat(rule_in(0), NFT_NAT_DNAT, rows[2].addresses, rows[2].ports);
	outcome();
	ck_assert_uint_eq(walk.diversion.to.address, INADDR_LOOPBACK);
	ck_assert_uint_eq(walk.diversion.to.port, 8081);
	ck_assert_ptr_eq(walk.diverted.rule, chains[0].rules[0]);
	/* an address of the device, whatever the port */
	set_course();
	rule_add(rule_in(0), "redir");
	ck_assert_uint_eq(outcome(), ACCEPT);
	ck_assert_int_eq(walk.diversion.truth, NB_YES);
	ck_assert_uint_eq(walk.diversion.to.address, 0);
	ck_assert_uint_eq(walk.diversion.to.port, 80);
}
END_TEST

/* The address that a map gives, if that is known. */
START_TEST(translations_of_maps)
{
	for (uint32_t length = 0; length <= 8; length += 4) {
		struct nftnl_rule *rule;
		struct nftnl_expr *expr;

		set_course();
		rule = rule_in(0);
		member = (struct nb_member){ .truth = NB_YES, .data_length = length };
		memcpy(member.data, "\xac\x1e\0\x9\0\x50\0", 8);
		walk.look_up = look_up;
		rule_add_payload(rule, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2);
		expr = rule_add(rule, "lookup");
		nftnl_expr_set_u32(expr, NFTNL_EXPR_LOOKUP_SREG, NFT_REG_1);
		nftnl_expr_set_u32(expr, NFTNL_EXPR_LOOKUP_DREG, NFT_REG_1);
		nftnl_expr_set_str(expr, NFTNL_EXPR_LOOKUP_SET, "map");
		expr = rule_add(rule, "nat");
		nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_TYPE, NFT_NAT_DNAT);
		nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_REG_ADDR_MIN, NFT_REG_1);
		if (length == 8)
			nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_REG_PROTO_MIN, NFT_REG32_01);
		outcome();
		ck_assert_int_eq(walk.diversion.truth, length ? NB_YES : NB_MAYBE);
		ck_assert_uint_eq(walk.diversion.to.address, length ? 0xac1e0009 : 0);
	}
}
END_TEST

START_TEST(translations_of_iptables)
{
	struct nf_nat_ipv4_multi_range_compat first = {
		.rangesize = 1,
		.range[0] = { .flags = NF_NAT_RANGE_PROTO_SPECIFIED,
			      .min.all = htons(1),
			      .max.all = htons(2) },
	};
	struct nf_nat_range2 range = {
		.flags = NF_NAT_RANGE_MAP_IPS,
		.min_addr.ip = htonl(INADDR_LOOPBACK),
		.max_addr.ip = htonl(INADDR_LOOPBACK),
	};
	/* what aligns it */
	size_t lengths[] = { sizeof(first), sizeof(first) + 4 };
	uint8_t aligned[sizeof(first) + 4] = { 0 };

	memcpy(aligned, &first, sizeof(first));
	for (size_t i = 0; i < COUNT(lengths); i++) {
		set_course();
		add_target(rule_in(0), "REDIRECT", 0, aligned, lengths[i]);
		ck_assert_uint_eq(outcome(), ACCEPT);
		ck_assert_int_eq(walk.diversion.truth, NB_YES);
		ck_assert_uint_eq(walk.diversion.to.address, 0);
		ck_assert_uint_eq(walk.diversion.to.port, 1);
	}
	for (uint32_t revision = 1; revision <= 2; revision++) {
		set_course();
		add_target(rule_in(0), "DNAT", revision, &range,
			   revision == 1 ? sizeof(struct nf_nat_range) : sizeof(range));
		outcome();
		ck_assert_int_eq(walk.diversion.truth, NB_YES);
		ck_assert_uint_eq(walk.diversion.to.address, INADDR_LOOPBACK);
		ck_assert_uint_eq(walk.diversion.to.port, 80);
	}
	set_course();
	range.flags |= NF_NAT_RANGE_PROTO_SPECIFIED;
	range.min_proto.all = range.max_proto.all = htons(8080);
	add_target(rule_in(0), "DNAT", 2, &range, sizeof(range));
	outcome();
	ck_assert_int_eq(walk.diversion.truth, NB_NO);
	set_course();
	add_target(rule_in(0), "DNAT", 2, "", 1);
	outcome();
	ck_assert_int_eq(walk.diversion.truth, NB_MAYBE);
}
END_TEST

static uint8_t type_of(void *data, uint32_t address)
{
	(void)data;
	return address == 0x0a000001 ? RTN_LOCAL : address == 0x0a000002 ? RTN_UNICAST : 0;
}

START_TEST(writes)
{
	static const struct {
		uint32_t base, offset, length;
		const char *value;
		unsigned int fixed;
		enum nb_truth truth;
	} rows[] = {
		{ NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, "\0\x51", NB_FIELD_ALL, NB_YES },
		{ NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, "\0\x50", NB_FIELD_ALL, NB_NO },
		{ NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, "\0\x51", NB_FIELD_SOURCE_PORT, NB_NO },
		{ NFT_PAYLOAD_TRANSPORT_HEADER, 0, 4, "\0\1\0\x51", NB_FIELD_ALL, NB_YES },
		{ NFT_PAYLOAD_TRANSPORT_HEADER, 3, 1, "\x51", NB_FIELD_ALL, NB_MAYBE },
		{ NFT_PAYLOAD_TRANSPORT_HEADER, 4, 2, "\0\x51", NB_FIELD_ALL, NB_NO },
		/* a source port may be any */
		{ NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2, "\0\1", NB_FIELD_ALL, NB_MAYBE },
		{ NFT_PAYLOAD_LL_HEADER, 2, 2, "\0\x51", NB_FIELD_ALL, NB_NO },
		/* the source's network is known */
		{ NFT_PAYLOAD_NETWORK_HEADER, 12, 4, "\xac\x1e\0\7", NB_FIELD_ALL, NB_MAYBE },
		{ NFT_PAYLOAD_NETWORK_HEADER, 12, 4, "\xac\x1f\0\7", NB_FIELD_ALL, NB_YES },
		/* one of the host's becomes another one, or that of somebody else */
		{ NFT_PAYLOAD_NETWORK_HEADER, 16, 4, "\xa\0\0\1", NB_FIELD_ALL, NB_NO },
		{ NFT_PAYLOAD_NETWORK_HEADER, 16, 4, "\xa\0\0\2", NB_FIELD_ALL, NB_YES },
		{ NFT_PAYLOAD_NETWORK_HEADER, 16, 4, "\xa\0\0\3", NB_FIELD_ALL, NB_MAYBE },
		{ NFT_PAYLOAD_NETWORK_HEADER, 8, 2, "\1\6", NB_FIELD_ALL, NB_NO },
	};

	for (size_t i = 0; i < COUNT(rows) + 1; i++) {
		size_t row = i < COUNT(rows) ? i : 0;
		struct nftnl_rule *rule;
		struct nftnl_expr *expr;

		set_course();
		walk.course.fixed = rows[row].fixed;
		walk.course.type_of = type_of;
		rule = rule_in(0);
		/* at last one whose value nobody knows */
		if (i < COUNT(rows))
			add_load(rule, NFT_REG_1, rows[row].value, rows[row].length);
		else
			rule_add(rule, "numgen");
		expr = rule_add(rule, "payload");
		nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_SREG, NFT_REG_1);
		nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_BASE, rows[row].base);
		nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_OFFSET, rows[row].offset);
		nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_LEN, rows[row].length);
		ck_assert_uint_eq(outcome(), ACCEPT);
		ck_assert_msg(walk.diversion.truth == (i == row ? rows[row].truth : NB_MAYBE),
			      "row %zu: %d", i, walk.diversion.truth);
		/* where it is not tracked yet, the answer would not get the address back */
		if (row == 10) {
			walk.packet.ct_state_known = 0;
			outcome();
			ck_assert_int_eq(walk.diversion.truth, NB_MAYBE);
		}
	}
}
END_TEST

/* --- What is iptables' own --- */

START_TEST(targets)
{
	static const struct {
		const char *name;
		enum nb_xt_effect effect;
	} rows[] = {
		{ "REJECT", NB_XT_DROPS },	 { "LOG", NB_XT_CONTINUES },
		{ "DNAT", NB_XT_MAY_TRANSLATE }, { "NOTRACK", NB_XT_UNTRACKS },
		{ "NFQUEUE", NB_XT_MAY_DROP },	 { "SYNPROXY", NB_XT_MAY_DROP },
		{ "NEWONE", NB_XT_MAY_DROP },	 { NULL, NB_XT_MAY_DROP },
	};
	struct nb_xt_change change;

	for (size_t i = 0; i < COUNT(rows); i++)
		ck_assert_msg(nb_xt_target(&walk.packet, rows[i].name, 0, "", 1, &change) ==
				      rows[i].effect,
			      "row %zu", i);
	ck_assert_int_eq(nb_xt_target(&walk.packet, "CT", 0, NULL, 0, &change), NB_XT_MAY_DROP);
	ck_assert_int_eq(nb_xt_target(&walk.packet, "MARK", 2, NULL, 0, &change), NB_XT_MAY_DROP);
	ck_assert_int_eq(nb_xt_target(&walk.packet, "CONNMARK", 7, "", 1, &change), NB_XT_MARKS);
	ck_assert_uint_eq(change.mark.unknown, UINT32_MAX);
}
END_TEST

static enum nb_truth states(uint32_t revision, uint16_t states, bool inverted)
{
	struct xt_conntrack_mtinfo1 old = {
		.match_flags = XT_CONNTRACK_STATE,
		.invert_flags = inverted ? XT_CONNTRACK_STATE : 0,
		.state_mask = (uint8_t)states,
	};
	struct xt_conntrack_mtinfo3 info = {
		.match_flags = XT_CONNTRACK_STATE,
		.invert_flags = inverted ? XT_CONNTRACK_STATE : 0,
		.state_mask = states,
	};

	return revision == 1
		       ? nb_xt_match(&walk.packet, "conntrack", 1, &old, sizeof(old))
		       : nb_xt_match(&walk.packet, "conntrack", revision, &info, sizeof(info));
}

#define STATE(name) XT_CONNTRACK_STATE_BIT(IP_CT_##name)

START_TEST(connection_states)
{
	struct xt_conntrack_mtinfo3 info = { .match_flags = XT_CONNTRACK_STATUS,
					     .status_mask = IPS_DST_NAT };
	struct xt_state_info old = { .statemask = STATE(NEW) };

	/* translated, new or established */
	ck_assert_int_eq(states(3, STATE(NEW), false), NB_MAYBE);
	ck_assert_int_eq(states(3, XT_CONNTRACK_STATE_INVALID, false), NB_NO);
	ck_assert_int_eq(states(3, XT_CONNTRACK_STATE_INVALID, true), NB_YES);
	ck_assert_int_eq(states(3, XT_CONNTRACK_STATE_UNTRACKED, false), NB_NO);
	ck_assert_int_eq(states(3, XT_CONNTRACK_STATE_DNAT, false), NB_YES);
	ck_assert_int_eq(states(3, STATE(ESTABLISHED) | XT_CONNTRACK_STATE_DNAT, true), NB_NO);
	ck_assert_int_eq(states(3, XT_CONNTRACK_STATE_SNAT, false), NB_MAYBE);
	ck_assert_int_eq(states(9, XT_CONNTRACK_STATE_DNAT, false), NB_MAYBE);
	walk.packet.ct_state = NF_CT_STATE_BIT(IP_CT_ESTABLISHED);
	walk.packet.ct_state_known = UINT32_MAX;
	for (uint32_t revision = 1; revision <= 3; revision++) {
		ck_assert_int_eq(states(revision, STATE(ESTABLISHED) | STATE(RELATED), false),
				 NB_YES);
		ck_assert_int_eq(states(revision, STATE(NEW), false), NB_NO);
	}
	ck_assert_int_eq(nb_xt_match(&walk.packet, "state", 0, &old, sizeof(old)), NB_NO);
	ck_assert_int_eq(nb_xt_match(&walk.packet, "conntrack", 3, &info, sizeof(info)), NB_YES);
	info.status_mask = IPS_ASSURED;
	ck_assert_int_eq(nb_xt_match(&walk.packet, "conntrack", 3, &info, sizeof(info)), NB_MAYBE);
	info.match_flags = XT_CONNTRACK_DIRECTION;
	ck_assert_int_eq(nb_xt_match(&walk.packet, "conntrack", 3, &info, sizeof(info)), NB_YES);
	walk.packet.ct_direction = IP_CT_DIR_REPLY;
	ck_assert_int_eq(nb_xt_match(&walk.packet, "conntrack", 3, &info, sizeof(info)), NB_NO);
	/* the port that was dialled, whatever it is now */
	info = (struct xt_conntrack_mtinfo3){ .match_flags = XT_CONNTRACK_ORIGDST_PORT,
					      .origdst_port = 80,
					      .origdst_port_high = 90 };
	ck_assert_int_eq(nb_xt_match(&walk.packet, "conntrack", 3, &info, sizeof(info)), NB_MAYBE);
	walk.packet.ct_dialled = 90;
	ck_assert_int_eq(nb_xt_match(&walk.packet, "conntrack", 3, &info, sizeof(info)), NB_YES);
	ck_assert_int_eq(nb_xt_match(&walk.packet, "conntrack", 2, &info, sizeof(info)), NB_NO);
	info.origdst_port = htons(90);
	ck_assert_int_eq(nb_xt_match(&walk.packet, "conntrack", 2, &info, sizeof(info)), NB_YES);
	info.invert_flags = XT_CONNTRACK_ORIGDST_PORT;
	ck_assert_int_eq(nb_xt_match(&walk.packet, "conntrack", 2, &info, sizeof(info)), NB_NO);
	info.match_flags = XT_CONNTRACK_PROTO;
	ck_assert_int_eq(nb_xt_match(&walk.packet, "conntrack", 3, &info, sizeof(info)), NB_MAYBE);
	ck_assert_int_eq(nb_xt_match(&walk.packet, "conntrack", 3, &info, 4), NB_MAYBE);
	ck_assert_int_eq(nb_xt_match(&walk.packet, "conntrack", 1, &info, 4), NB_MAYBE);
}
END_TEST

START_TEST(ports)
{
	struct xt_tcp tcp = { .spts = { 0, 65535 }, .dpts = { 80, 90 } };
	struct xt_udp udp = { .spts = { 0, 65535 }, .dpts = { 80, 90 } };
	struct xt_multiport_v1 multi = { .flags = XT_MULTIPORT_DESTINATION,
					 .count = 3,
					 .ports = { 22, 80, 90 },
					 .pflags = { 0, 1, 0 } };
	const struct nb_packet *packet = &walk.packet;

	ck_assert_int_eq(nb_xt_match(packet, "tcp", 0, &tcp, sizeof(tcp)), NB_MAYBE);
	nb_packet_set_protocol(&walk.packet, IPPROTO_TCP);
	nb_packet_set_destination_port(&walk.packet, 85);
	ck_assert_int_eq(nb_xt_match(packet, "tcp", 0, &tcp, sizeof(tcp)), NB_YES);
	ck_assert_int_eq(nb_xt_match(packet, "udp", 0, &udp, sizeof(udp)), NB_NO);
	ck_assert_int_eq(nb_xt_match(packet, "multiport", 1, &multi, sizeof(multi)), NB_YES);
	multi.invert = 1;
	ck_assert_int_eq(nb_xt_match(packet, "multiport", 1, &multi, sizeof(multi)), NB_NO);
	multi.flags = XT_MULTIPORT_SOURCE;
	ck_assert_int_eq(nb_xt_match(packet, "multiport", 1, &multi, sizeof(multi)), NB_MAYBE);
	tcp.invflags = XT_TCP_INV_DSTPT;
	ck_assert_int_eq(nb_xt_match(packet, "tcp", 0, &tcp, sizeof(tcp)), NB_NO);
	nb_packet_set_destination_port(&walk.packet, 91);
	ck_assert_int_eq(nb_xt_match(packet, "tcp", 0, &tcp, sizeof(tcp)), NB_YES);
	tcp.flg_mask = 0x17;
	ck_assert_int_eq(nb_xt_match(packet, "tcp", 0, &tcp, sizeof(tcp)), NB_MAYBE);
	ck_assert_int_eq(nb_xt_match(packet, "tcp", 1, &tcp, sizeof(tcp)), NB_MAYBE);
	nb_packet_set_protocol(&walk.packet, IPPROTO_UDP);
	ck_assert_int_eq(nb_xt_match(packet, "udp", 0, &udp, sizeof(udp)), NB_NO);
	udp.invflags = XT_UDP_INV_DSTPT;
	ck_assert_int_eq(nb_xt_match(packet, "udp", 0, &udp, sizeof(udp)), NB_YES);
}
END_TEST

START_TEST(other_matches)
{
	struct xt_mark_mtinfo1 mark = { .mark = MARK, .mask = MARK };
	struct xt_addrtype_info_v1 type = { .dest = 1 << RTN_LOCAL };
	const struct nb_packet *packet = &walk.packet;

	ck_assert_int_eq(nb_xt_match(packet, "comment", 0, "x", 1), NB_YES);
	ck_assert_int_eq(nb_xt_match(packet, "geoip", 0, "x", 1), NB_MAYBE);
	ck_assert_int_eq(nb_xt_match(packet, NULL, 0, "x", 1), NB_MAYBE);
	ck_assert_int_eq(nb_xt_match(packet, "mark", 1, &mark, sizeof(mark)), NB_YES);
	mark.invert = 1;
	ck_assert_int_eq(nb_xt_match(packet, "mark", 1, &mark, sizeof(mark)), NB_NO);
	mark.mask = UINT32_MAX;
	ck_assert_int_eq(nb_xt_match(packet, "mark", 1, &mark, sizeof(mark)), NB_MAYBE);
	/* a value outside of its mask is never there */
	mark = (struct xt_mark_mtinfo1){ .mark = 3, .mask = MARK };
	ck_assert_int_eq(nb_xt_match(packet, "mark", 1, &mark, sizeof(mark)), NB_NO);
	ck_assert_int_eq(nb_xt_match(packet, "addrtype", 1, &type, sizeof(type)), NB_YES);
	type.flags = XT_ADDRTYPE_INVERT_DEST;
	ck_assert_int_eq(nb_xt_match(packet, "addrtype", 1, &type, sizeof(type)), NB_NO);
	type = (struct xt_addrtype_info_v1){ .source = 1 << RTN_UNICAST,
					     .flags = XT_ADDRTYPE_LIMIT_IFACE_IN };
	ck_assert_int_eq(nb_xt_match(packet, "addrtype", 1, &type, sizeof(type)), NB_YES);
	type = (struct xt_addrtype_info_v1){ .dest = 1 << RTN_LOCAL,
					     .flags = XT_ADDRTYPE_LIMIT_IFACE_IN };
	ck_assert_int_eq(nb_xt_match(packet, "addrtype", 1, &type, sizeof(type)), NB_NO);
	walk.packet.source_type = 0;
	type = (struct xt_addrtype_info_v1){ .source = 1 << RTN_UNICAST };
	ck_assert_int_eq(nb_xt_match(packet, "addrtype", 1, &type, sizeof(type)), NB_MAYBE);
}
END_TEST

/* --- In words --- */

START_TEST(texts)
{
	char text[128], small[9];
	struct nftnl_rule *rule = with_meta(NFT_META_IIFNAME);
	struct nftnl_expr *expr;
	uint32_t zero = 0, local = RTN_LOCAL;

	rule_add_compare(rule, NFT_CMP_NEQ, "lo\0", 3);
	rule_add_payload(rule, NFT_PAYLOAD_NETWORK_HEADER, 16, 4);
	rule_add_bitwise(rule, htonl(0xff000000), 0);
	rule_add_compare(rule, NFT_CMP_EQ, "\x7f\0\0\0", 4);
	rule_add(rule, "counter");
	rule_add_verdict(rule, NF_DROP, NULL);
	ck_assert_str_eq(nb_rule_text(rule, text, sizeof(text)),
			 "iifname != \"lo\" ip daddr 127.0.0.0/8 drop");
	ck_assert_str_eq(nb_rule_text(rule, small, sizeof(small)), "iifname");

	rule = with_ct(NFT_CT_STATE);
	rule_add_bitwise(rule, NF_CT_STATE_BIT(IP_CT_NEW) | NF_CT_STATE_INVALID_BIT, 0);
	rule_add_compare(rule, NFT_CMP_NEQ, &zero, sizeof(zero));
	rule_add_match(rule, "recent", 0, "x", 1);
	rule_add_verdict(rule, NFT_JUMP, "na\nsty");
	nb_rule_text(rule, text, sizeof(text));
	ck_assert_ptr_null(strchr(text, '\n'));
	ck_assert_msg(strncmp(text, "ct state invalid,new -m recent ... jump na", 42) == 0, "%s",
		      text);

	rule = with_meta(NFT_META_L4PROTO);
	rule_add_compare(rule, NFT_CMP_EQ, "\x11", 1);
	rule_add_payload(rule, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2);
	expr = rule_add(rule, "lookup");
	nftnl_expr_set_u32(expr, NFTNL_EXPR_LOOKUP_SREG, NFT_REG_1);
	nftnl_expr_set_str(expr, NFTNL_EXPR_LOOKUP_SET, "__set3");
	rule_add(rule, "reject");
	ck_assert_str_eq(nb_rule_text(rule, text, sizeof(text)),
			 "meta l4proto udp th dport @{...} reject");

	rule = with_meta(NFT_META_IIFNAME);
	rule_add_compare(rule, NFT_CMP_EQ, "br-app", 7);
	rule_add(rule, "socket");
	rule_add_compare(rule, NFT_CMP_EQ, &zero, sizeof(zero));
	expr = rule_add(rule, "fib");
	nftnl_expr_set_u32(expr, NFTNL_EXPR_FIB_DREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_FIB_FLAGS, NFTA_FIB_F_DADDR | NFTA_FIB_F_IIF);
	rule_add_compare(rule, NFT_CMP_NEQ, &local, sizeof(local));
	ck_assert_str_eq(nb_rule_text(rule, text, sizeof(text)),
			 "iifname \"br-app\" socket fib daddr . iif type != local");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("firewall");

	unit_add_between(suite, "verdicts", verdicts, setup, teardown);
	unit_add_between(suite, "policies", policies, setup, teardown);
	unit_add_between(suite, "ways_back", ways_back, setup, teardown);
	unit_add_between(suite, "many_ways", many_ways, setup, teardown);
	unit_add_between(suite, "beginnings", beginnings, setup, teardown);
	unit_add_between(suite, "unreadable_rules", unreadable_rules, setup, teardown);
	unit_add_between(suite, "expressions", expressions, setup, teardown);
	unit_add_between(suite, "named_objects", named_objects, setup, teardown);
	unit_add_between(suite, "comparisons", comparisons, setup, teardown);
	unit_add_between(suite, "ranges", ranges, setup, teardown);
	unit_add_between(suite, "lookups", lookups, setup, teardown);
	unit_add_between(suite, "types_of_addresses", types_of_addresses, setup, teardown);
	unit_add_between(suite, "byte_orders", byte_orders, setup, teardown);
	unit_add_between(suite, "marks", marks, setup, teardown);
	unit_add_between(suite, "marks_of_connections", marks_of_connections, setup, teardown);
	unit_add_between(suite, "ways_with_marks", ways_with_marks, setup, teardown);
	unit_add_between(suite, "tracking", tracking, setup, teardown);
	unit_add_between(suite, "zones", zones, setup, teardown);
	unit_add_between(suite, "translations", translations, setup, teardown);
	unit_add_between(suite, "translations_of_maps", translations_of_maps, setup, teardown);
	unit_add_between(suite, "translations_of_iptables", translations_of_iptables, setup,
			 teardown);
	unit_add_between(suite, "writes", writes, setup, teardown);
	unit_add_between(suite, "targets", targets, setup, teardown);
	unit_add_between(suite, "connection_states", connection_states, setup, teardown);
	unit_add_between(suite, "ports", ports, setup, teardown);
	unit_add_between(suite, "other_matches", other_matches, setup, teardown);
	unit_add_between(suite, "texts", texts, setup, teardown);
	return unit_run(suite);
}
