/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a rule does with marks, read from its expressions. */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/xt_HMARK.h>
#include <linux/netfilter/xt_TPROXY.h>
#include <linux/netfilter/xt_connmark.h>
#include <linux/netfilter/xt_mark.h>
#include <string.h>

#include "firewall/mark_sets.h"
#include "firewall/mark_use.h"
#include "nft_rules.h"
#include "unit.h"

#define MARK 0x10000000u
#define ALL  UINT32_MAX

static struct nftnl_rule *rule;

static void setup(void)
{
	rule = nftnl_rule_alloc();
	ck_assert_ptr_nonnull(rule);
}

static void teardown(void)
{
	nftnl_rule_free(rule);
}

/* Read the rule, and begin another one. */
static struct nb_mark_use use_of_rule(void)
{
	static char name[] = "t";
	struct nb_chain chain = { .family = NFPROTO_INET, .table = name, .name = name };
	struct nb_mark_use use;

	nb_mark_use_read(NULL, &chain, rule, &use);
	teardown();
	setup();
	return use;
}

static void load_ct_mark(void)
{
	struct nftnl_expr *expr = rule_add(rule, "ct");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_KEY, NFT_CT_MARK);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_DREG, NFT_REG_1);
}

static void set_ct_mark(void)
{
	struct nftnl_expr *expr = rule_add(rule, "ct");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_KEY, NFT_CT_MARK);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_SREG, NFT_REG_1);
}

static void set_mark(void)
{
	struct nftnl_expr *expr = rule_add(rule, "meta");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_META_KEY, NFT_META_MARK);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_META_SREG, NFT_REG_1);
}

static void load_number(uint32_t value)
{
	struct nftnl_expr *expr = rule_add(rule, "immediate");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_DREG, NFT_REG_1);
	nftnl_expr_set(expr, NFTNL_EXPR_IMM_DATA, &value, sizeof(value));
}

static void turn(void)
{
	struct nftnl_expr *expr = rule_add(rule, "byteorder");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_BYTEORDER_SREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BYTEORDER_DREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BYTEORDER_LEN, 4);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BYTEORDER_SIZE, 4);
}

static void shift(uint32_t op, uint32_t by)
{
	struct nftnl_expr *expr = rule_add(rule, "bitwise");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_SREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_DREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_LEN, sizeof(by));
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_OP, op);
	nftnl_expr_set(expr, NFTNL_EXPR_BITWISE_DATA, &by, sizeof(by));
}

static void compare(uint32_t op, uint32_t value)
{
	rule_add_compare(rule, op, &value, sizeof(value));
}

START_TEST(ranges_of_bits)
{
	static const struct {
		uint32_t low, high, bits;
	} rows[] = {
		{ 0, ALL, 0 },
		{ 1, ALL, 0 },
		{ 2, ALL, ALL },
		{ 0, 0, 0 },
		{ 5, 5, 5 },
		{ 0, 4, 7 },
		{ 4, 5, 5 },
		{ 0x0f000000, 0x0fffffff, 0x0fffffff },
		{ 0x0f000000, 0x10000000, 0x1fffffff },
		{ MARK, MARK + 3, MARK | 3 },
		{ 0x80000000, ALL, ALL },
	};

	for (size_t i = 0; i < COUNT(rows); i++)
		ck_assert_msg(nb_range_bits(rows[i].low, rows[i].high) == rows[i].bits,
			      "row %zu: 0x%x", i, nb_range_bits(rows[i].low, rows[i].high));
}
END_TEST

START_TEST(comparisons)
{
	struct nb_mark_use use;

	rule_add_meta(rule, NFT_META_MARK);
	compare(NFT_CMP_EQ, 5);
	use = use_of_rule();
	ck_assert_uint_eq(use.tests, 5);
	ck_assert(use.asks_all);
	ck_assert(!use.acts);

	rule_add_meta(rule, NFT_META_MARK);
	rule_add_bitwise(rule, 0xf0, 0);
	compare(NFT_CMP_NEQ, 0);
	use = use_of_rule();
	ck_assert_uint_eq(use.tests, 0xf0);
	ck_assert(!use.asks_all);

	/* as a range is written, and a bound */
	rule_add_meta(rule, NFT_META_MARK);
	turn();
	compare(NFT_CMP_GTE, htonl(0x0f000000));
	compare(NFT_CMP_LTE, htonl(0x10000000));
	ck_assert_uint_eq(use_of_rule().tests, 0x1fffffff);
	rule_add_meta(rule, NFT_META_MARK);
	turn();
	compare(NFT_CMP_LT, htonl(4));
	ck_assert_uint_eq(use_of_rule().tests, 3);
	rule_add_meta(rule, NFT_META_MARK);
	turn();
	compare(NFT_CMP_GT, htonl(0));
	use = use_of_rule();
	ck_assert_uint_eq(use.tests, 0);
	ck_assert(use.asks_all);
	/* a mask in network byte order */
	rule_add_meta(rule, NFT_META_MARK);
	turn();
	rule_add_bitwise(rule, htonl(MARK), 0);
	compare(NFT_CMP_EQ, 0);
	ck_assert_uint_eq(use_of_rule().tests, MARK);

	rule_add_meta(rule, NFT_META_MARK);
	shift(NFT_BITWISE_RSHIFT, 24);
	compare(NFT_CMP_EQ, 7);
	ck_assert_uint_eq(use_of_rule().tests, 0xff000000);
	rule_add_meta(rule, NFT_META_MARK);
	shift(NFT_BITWISE_LSHIFT, 24);
	compare(NFT_CMP_EQ, 7);
	ck_assert_uint_eq(use_of_rule().tests, 0xff);

	/* something else in the register */
	rule_add_meta(rule, NFT_META_MARK);
	rule_add_meta(rule, NFT_META_SKUID);
	compare(NFT_CMP_EQ, MARK);
	use = use_of_rule();
	ck_assert_uint_eq(use.tests, 0);
	ck_assert(!use.asks_all);
}
END_TEST

START_TEST(writes)
{
	struct nb_mark_use use;

	load_number(6);
	set_mark();
	use = use_of_rule();
	ck_assert_uint_eq(use.sets, 6);
	ck_assert_uint_eq(use.clears, 0);
	ck_assert(use.acts);

	rule_add_meta(rule, NFT_META_MARK);
	rule_add_bitwise(rule, ~6u, 6);
	set_mark();
	use = use_of_rule();
	ck_assert_uint_eq(use.sets, 6);
	ck_assert_uint_eq(use.clears, 6);
	ck_assert_uint_eq(use.tests, 0);

	/* flipped */
	rule_add_meta(rule, NFT_META_MARK);
	rule_add_bitwise(rule, ALL, MARK);
	set_mark();
	ck_assert_uint_eq(use_of_rule().sets, MARK);

	rule_add_meta(rule, NFT_META_MARK);
	shift(NFT_BITWISE_LSHIFT, 8);
	set_mark();
	use = use_of_rule();
	ck_assert_uint_eq(use.sets, 0xffffff00);

	rule_add_payload(rule, NFT_PAYLOAD_NETWORK_HEADER, 16, 4);
	turn();
	rule_add_bitwise(rule, 0xff, 0);
	set_mark();
	ck_assert_uint_eq(use_of_rule().sets, 0xff);

	load_ct_mark();
	rule_add_bitwise(rule, 0xff, 0);
	set_mark();
	use = use_of_rule();
	ck_assert_uint_eq(use.restores, 0xff);
	ck_assert_uint_eq(use.sets | use.clears, 0);

	rule_add_meta(rule, NFT_META_MARK);
	rule_add_bitwise(rule, ~1u, 1);
	set_ct_mark();
	use = use_of_rule();
	ck_assert_uint_eq(use.saves, ~1u);
	ck_assert_uint_eq(use.holds, 1);
	ck_assert_uint_eq(use.sets, 0);
}
END_TEST

/* Of both marks, by a kernel that is newer than libnftnl. */
START_TEST(two_registers)
{
	struct nftnl_expr *expr;

	load_ct_mark();
	expr = rule_add(rule, "bitwise");
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_SREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_DREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_OP, 4); /* or */
	set_ct_mark();
	ck_assert_uint_eq(use_of_rule().saves, ALL);
}
END_TEST

START_TEST(numbers)
{
	struct nftnl_expr *expr = rule_add(rule, "numgen");

	nftnl_expr_set_u32(expr, NFTNL_EXPR_NG_DREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_NG_MODULUS, 4);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_NG_OFFSET, MARK);
	set_mark();
	ck_assert_uint_eq(use_of_rule().sets, MARK | 3);
	expr = rule_add(rule, "hash");
	nftnl_expr_set_u32(expr, NFTNL_EXPR_HASH_DREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_HASH_MODULUS, 16);
	set_mark();
	ck_assert_uint_eq(use_of_rule().sets, 0xf);
}
END_TEST

START_TEST(families)
{
	uint16_t type = htons(ETH_P_IPV6);

	rule_add_meta(rule, NFT_META_NFPROTO);
	rule_add_compare(rule, NFT_CMP_EQ, "\n", 1);
	load_number(MARK);
	set_mark();
	ck_assert_uint_eq(use_of_rule().sets, 0);
	rule_add_meta(rule, NFT_META_PROTOCOL);
	rule_add_compare(rule, NFT_CMP_EQ, &type, sizeof(type));
	load_number(MARK);
	set_mark();
	ck_assert_uint_eq(use_of_rule().sets, 0);
	rule_add_meta(rule, NFT_META_NFPROTO);
	rule_add_compare(rule, NFT_CMP_NEQ, "\n", 1);
	load_number(MARK);
	set_mark();
	ck_assert_uint_eq(use_of_rule().sets, MARK);
	rule_add_meta(rule, NFT_META_NFPROTO);
	rule_add_compare(rule, NFT_CMP_EQ, "\2", 1);
	load_number(MARK);
	set_mark();
	ck_assert_uint_eq(use_of_rule().sets, MARK);
}
END_TEST

START_TEST(matches_of_iptables)
{
	struct xt_mark_mtinfo1 mark = { .mark = MARK, .mask = ALL };
	struct xt_connmark_mtinfo1 connmark = { .mark = 0, .mask = MARK };
	struct nb_mark_use use;

	rule_add_match(rule, "mark", 1, &mark, sizeof(mark));
	use = use_of_rule();
	ck_assert_uint_eq(use.tests, MARK);
	ck_assert(use.asks_all);
	mark = (struct xt_mark_mtinfo1){ .mark = 1, .mask = 0xff, .invert = 1 };
	rule_add_match(rule, "mark", 1, &mark, sizeof(mark));
	ck_assert_uint_eq(use_of_rule().tests, 0xff);
	rule_add_match(rule, "connmark", 1, &connmark, sizeof(connmark));
	use = use_of_rule();
	ck_assert_uint_eq(use.tests, 0);
	ck_assert_uint_eq(use.holds, MARK);
	/* another revision, and one that is cut off */
	rule_add_match(rule, "mark", 7, &mark, sizeof(mark));
	rule_add_match(rule, "mark", 1, &mark, 4);
	ck_assert_uint_eq(use_of_rule().tests, 0);
}
END_TEST

START_TEST(targets_of_iptables)
{
	const struct xt_mark_tginfo2 whole = { .mark = 5, .mask = ALL },
				     part = { .mark = 1, .mask = 0xf0 };
	const struct xt_connmark_tginfo1 set = { .mode = XT_CONNMARK_SET, .ctmark = 9 }, restore = {
		.mode = XT_CONNMARK_RESTORE, .ctmask = MARK, .nfmask = MARK
	};
	const struct xt_connmark_tginfo2 save = { .mode = XT_CONNMARK_SAVE,
						  .ctmask = ALL,
						  .nfmask = 0xff00 },
					 shifted = { .mode = XT_CONNMARK_RESTORE,
						     .ctmask = 0x10,
						     .nfmask = ALL,
						     .shift_dir = D_SHIFT_LEFT,
						     .shift_bits = 24 };
	const struct xt_tproxy_target_info proxy = { .mark_mask = 1, .mark_value = 1 };
	const struct xt_hmark_info hash = { .hmodulus = 2, .hoffset = MARK };
	struct nb_mark_use use;

	rule_add_target(rule, "MARK", 2, &whole, sizeof(whole));
	use = use_of_rule();
	ck_assert_uint_eq(use.sets, 5);
	ck_assert_uint_eq(use.clears, 0);
	ck_assert(use.acts);
	rule_add_target(rule, "MARK", 2, &part, sizeof(part));
	use = use_of_rule();
	ck_assert_uint_eq(use.sets, 1);
	ck_assert_uint_eq(use.clears, 0xf0);

	rule_add_target(rule, "CONNMARK", 1, &set, sizeof(set));
	use = use_of_rule();
	ck_assert_uint_eq(use.holds, 9);
	ck_assert_uint_eq(use.saves | use.sets | use.restores, 0);
	rule_add_target(rule, "CONNMARK", 1, &restore, sizeof(restore));
	use = use_of_rule();
	ck_assert_uint_eq(use.restores, MARK);
	ck_assert_uint_eq(use.clears, MARK);
	rule_add_target(rule, "CONNMARK", 2, &save, sizeof(save));
	use = use_of_rule();
	ck_assert_uint_eq(use.saves, 0xff00);
	ck_assert_uint_eq(use.restores | use.holds, 0);
	rule_add_target(rule, "CONNMARK", 2, &shifted, sizeof(shifted));
	use = use_of_rule();
	ck_assert_uint_eq(use.sets, MARK);
	ck_assert_uint_eq(use.restores | use.clears, 0);

	rule_add_target(rule, "TPROXY", 1, &proxy, sizeof(proxy));
	use = use_of_rule();
	ck_assert_uint_eq(use.sets, 1);
	ck_assert_uint_eq(use.clears, 1);
	rule_add_target(rule, "HMARK", 0, &hash, sizeof(hash));
	ck_assert_uint_eq(use_of_rule().sets, MARK | 1);

	rule_add_target(rule, "LOG", 0, "", 1);
	ck_assert(!use_of_rule().acts);
	rule_add_target(rule, "MARK", 2, &whole, 4);
	ck_assert_uint_eq(use_of_rule().sets, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("marks");

	unit_add_between(suite, "ranges_of_bits", ranges_of_bits, setup, teardown);
	unit_add_between(suite, "comparisons", comparisons, setup, teardown);
	unit_add_between(suite, "writes", writes, setup, teardown);
	unit_add_between(suite, "two_registers", two_registers, setup, teardown);
	unit_add_between(suite, "numbers", numbers, setup, teardown);
	unit_add_between(suite, "families", families, setup, teardown);
	unit_add_between(suite, "matches_of_iptables", matches_of_iptables, setup, teardown);
	unit_add_between(suite, "targets_of_iptables", targets_of_iptables, setup, teardown);
	return unit_run(suite);
}
