/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Our table read from the kernel in memory: sound, damaged, of another version. */
#include <stdio.h>
#include <string.h>
#include <netinet/in.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include "fake_kernel.h"
#include "reading.h"
#include "nft_rules.h"
#include "unit.h"

static void append_own(struct nftnl_rule *rule)
{
	fake_add_rule(rule, true);
}

static void rule_gone(void)
{
	fake_delete_rule(NFPROTO_INET, NB_TABLE_NAME, "guard", 0);
}

static void last_rule_gone(void)
{
	fake_delete_rule(NFPROTO_INET, NB_TABLE_NAME, "answers", 4);
}

static void chain_emptied(void)
{
	fake_delete_rule(NFPROTO_INET, NB_TABLE_NAME, "translated", 0);
	fake_delete_rule(NFPROTO_INET, NB_TABLE_NAME, "translated", 0);
	fake_delete_rule(NFPROTO_INET, NB_TABLE_NAME, "translated", 0);
}

static void rule_added(void)
{
	struct nftnl_rule *rule = new_rule(NFPROTO_INET, NB_TABLE_NAME, "unmark");

	rule_add_verdict(rule, NF_ACCEPT, NULL);
	append_own(rule);
}

static void rule_unreadable(void)
{
	fake_add_unreadable_rule(NFPROTO_INET, NB_TABLE_NAME, "unmark");
}

static void rule_before(void)
{
	struct nftnl_rule *rule = new_rule(NFPROTO_INET, NB_TABLE_NAME, "guard");

	rule_add_verdict(rule, NF_ACCEPT, NULL);
	fake_add_rule(rule, false);
}

static void rule_replaced(void)
{
	struct nftnl_rule *rule = new_rule(NFPROTO_INET, NB_TABLE_NAME, "egress");

	fake_delete_rule(NFPROTO_INET, NB_TABLE_NAME, "egress", 0);
	rule_add_verdict(rule, NFT_JUMP, "answers");
	append_own(rule);
}

static void chain_gone(void)
{
	fake_delete_chain("admit-late");
}

static void set_gone(void)
{
	fake_delete_set("accepted");
}

static void chain_added(void)
{
	fake_add_chain(NFPROTO_INET, NB_TABLE_NAME, "mine", NULL, 0, 0, 0);
}

static void make_again(const char *name, const char *type, uint32_t hook, int32_t priority,
		       uint32_t policy)
{
	fake_delete_chain(name);
	fake_add_chain(NFPROTO_INET, NB_TABLE_NAME, name, type, hook, priority, policy);
}

static void hook_lost(void)
{
	make_again("guard", NULL, 0, 0, 0);
}

static void hook_gained(void)
{
	make_again("mapped", "filter", NF_INET_LOCAL_IN, 0, NF_ACCEPT);
}

static void hook_other(void)
{
	make_again("guard", "filter", NF_INET_FORWARD, -300, NF_ACCEPT);
}

static void type_other(void)
{
	make_again("translate", "filter", NF_INET_PRE_ROUTING, -110, NF_ACCEPT);
}

static void priority_other(void)
{
	make_again("guard", "filter", NF_INET_PRE_ROUTING, -299, NF_ACCEPT);
}

static void policy_other(void)
{
	make_again("guard", "filter", NF_INET_PRE_ROUTING, -300, NF_DROP);
}

START_TEST(each_damage_has_its_words)
{
	static const struct {
		void (*tamper)(void);
		const char *words;
	} rows[] = {
		{ rule_gone, "rule 1 of chain guard differs" },
		{ last_rule_gone, "chain answers lacks 1 of its 5 rules" },
		{ chain_emptied, "chain translated lacks 3 of its 3 rules" },
		{ rule_added, "chain unmark has a rule too many" },
		{ rule_unreadable, "it has a rule that is not ours and cannot be read" },
		{ rule_before, "rule 1 of chain guard differs" },
		{ rule_replaced, "rule 1 of chain egress differs" },
		{ chain_gone, "chain admit-late is missing" },
		{ chain_added, "chain mine is not ours" },
		{ set_gone, "set accepted is missing" },
		{ hook_lost, "chain guard has lost its hook" },
		{ hook_gained, "chain mapped has a hook" },
		{ hook_other, "chain guard has another hook or type" },
		{ type_other, "chain translate has another hook or type" },
		{ priority_other, "chain guard has priority -299 instead of -300" },
		{ policy_other, "chain guard has another policy" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		set_up(3);
		rows[i].tamper();
		must_read();
		ck_assert_msg(state.table == NB_TABLE_DAMAGED, "row %zu: %d", i, state.table);
		ck_assert_str_eq(state.damage, rows[i].words);
		/* what it holds is read all the same */
		ck_assert_uint_eq(state.targets.count, 4);
		ck_assert_uint_eq(state.accepted.count, rows[i].tamper == set_gone ? 0 : 4);
		ck_assert_uint_eq(state.bridges.count, 2);
		tear_down();
	}
}
END_TEST

START_TEST(another_mark_is_damage)
{
	set_up(1);
	fake.exchanges = 0;
	ck_assert_int_eq(nb_state_read(nl, 0x100, NULL, 0, &state, &err), 0);
	ck_assert_int_eq(state.table, NB_TABLE_DAMAGED);
	ck_assert_str_eq(state.damage, "rule 1 of chain translated differs");
	tear_down();
}
END_TEST

START_TEST(schema_versions)
{
	static const struct {
		const char *comment;
		uint32_t flags;
		enum nb_table_state table;
		const char *words;
	} rows[] = {
		{ "schema 1", 0, NB_TABLE_OLDER, "it has schema 1, this is 2" },
		{ "schema 3", 0, NB_TABLE_NEWER, "it has schema 3, this is 2" },
		{ "schema 4294967295", 0, NB_TABLE_NEWER, "it has schema 4294967295, this is 2" },
		{ "schema 2", 0, NB_TABLE_DAMAGED, "set bridges is missing" },
		{ "schema 2", NFT_TABLE_F_DORMANT, NB_TABLE_DAMAGED, "it is dormant" },
		{ "schema 2x", 0, NB_TABLE_DAMAGED, "the schema comment is missing" },
		{ "schema ", 0, NB_TABLE_DAMAGED, "the schema comment is missing" },
		{ "schema", 0, NB_TABLE_DAMAGED, "the schema comment is missing" },
		{ "mine", 0, NB_TABLE_DAMAGED, "the schema comment is missing" },
		{ NULL, 0, NB_TABLE_DAMAGED, "the schema comment is missing" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		set_up(0);
		fake_add_table(NFPROTO_INET, NB_TABLE_NAME, rows[i].flags, rows[i].comment);
		must_read();
		ck_assert_msg(state.table == rows[i].table, "row %zu: %d", i, state.table);
		ck_assert_str_eq(state.damage, rows[i].words);
		tear_down();
	}
	/* another family's table of that name is not ours */
	set_up(0);
	fake_add_table(NFPROTO_IPV4, NB_TABLE_NAME, 0, "schema 1");
	must_read();
	ck_assert_int_eq(state.table, NB_TABLE_ABSENT);
	tear_down();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ruleset_table");

	unit_add(suite, "each_damage", each_damage_has_its_words);
	unit_add(suite, "another_mark", another_mark_is_damage);
	unit_add(suite, "schema_versions", schema_versions);
	return unit_run(suite);
}
