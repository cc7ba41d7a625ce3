/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Our table as the kernel shows it is sound; each single damage to it is worded. */
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <string.h>

#include "nat-bridge/rules.h"
#include "nft_rules.h"
#include "ruleset/schema.h"
#include "ruleset/structure.h"
#include "unit.h"

/* What is wrong with the table that is fed; zero-initialised: nothing. */
struct damage {
	const char *lacks; /* chain or set */
	const char *chain; /* chain that is edited */
	void (*edit_chain)(struct nftnl_chain *);
	const char *set; /* set that is edited */
	void (*edit_set)(struct nftnl_set *);
	bool flips_counter; /* of that set */
	const char *extra_chain;
	const char *extra_set;
	/* all that follows is about one rule */
	const char *rules;
	size_t position;
	bool lacks_rule;
	bool doubles_rule;
	bool replaced;
	enum nb_statement statements[NB_SCHEMA_STATEMENTS];
	void (*edit_rule)(struct nftnl_rule *);
	/* the set { tcp, udp } of each rule that has one */
	bool other_protocols;
	uint8_t protocols[4];
	size_t protocol_count;
	uint32_t mark; /* 0: ours */
};

static bool is(const char *name, const char *wanted)
{
	return wanted && !strcmp(name, wanted);
}

static void feed_set(struct nb_structure *structure, const struct nb_schema_set *schema,
		     const char *name, bool counter, void (*edit)(struct nftnl_set *))
{
	struct nftnl_set *set = nftnl_set_alloc();

	nftnl_set_set_str(set, NFTNL_SET_NAME, name);
	nftnl_set_set_u32(set, NFTNL_SET_FLAGS, schema->flags);
	nftnl_set_set_u32(set, NFTNL_SET_KEY_TYPE, schema->key_type);
	nftnl_set_set_u32(set, NFTNL_SET_KEY_LEN, schema->key_length);
	if (schema->data_type) {
		nftnl_set_set_u32(set, NFTNL_SET_DATA_TYPE, schema->data_type);
		nftnl_set_set_u32(set, NFTNL_SET_DATA_LEN, schema->data_length);
	}
	if (counter)
		nftnl_set_set_data(set, NFTNL_SET_EXPR, nftnl_expr_alloc("counter"), 0);
	if (edit)
		edit(set);
	nb_structure_set(structure, set);
	nftnl_set_free(set);
}

static void feed_anonymous_set(struct nb_structure *structure)
{
	struct nftnl_set *set = nftnl_set_alloc();

	nftnl_set_set_str(set, NFTNL_SET_NAME, "__set10");
	nftnl_set_set_u32(set, NFTNL_SET_FLAGS, NFT_SET_ANONYMOUS | NFT_SET_CONSTANT);
	nftnl_set_set_u32(set, NFTNL_SET_KEY_TYPE, NB_TYPE_PROTOCOL);
	nftnl_set_set_u32(set, NFTNL_SET_KEY_LEN, 1);
	nb_structure_set(structure, set);
	nftnl_set_free(set);
}

static void feed_chain(struct nb_structure *structure, const struct nb_schema_chain *schema,
		       const char *name, void (*edit)(struct nftnl_chain *))
{
	struct nftnl_chain *chain = nftnl_chain_alloc();

	nftnl_chain_set_str(chain, NFTNL_CHAIN_NAME, name);
	if (schema->type) {
		nftnl_chain_set_str(chain, NFTNL_CHAIN_TYPE, schema->type);
		nftnl_chain_set_u32(chain, NFTNL_CHAIN_HOOKNUM, schema->hook);
		nftnl_chain_set_s32(chain, NFTNL_CHAIN_PRIO, schema->priority);
		nftnl_chain_set_u32(chain, NFTNL_CHAIN_POLICY, NF_ACCEPT);
	}
	if (edit)
		edit(chain);
	nb_structure_chain(structure, chain);
	nftnl_chain_free(chain);
}

/* The kernel has counted packets, and says of a NAT what the request left out. */
static int fill_in(struct nftnl_expr *expr, void *data)
{
	const char *name = nftnl_expr_get_str(expr, NFTNL_EXPR_NAME);

	(void)data;
	if (!strcmp(name, "counter")) {
		nftnl_expr_set_u64(expr, NFTNL_EXPR_CTR_PACKETS, 17);
		nftnl_expr_set_u64(expr, NFTNL_EXPR_CTR_BYTES, UINT64_MAX);
	} else if (!strcmp(name, "nat")) {
		nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_FLAGS, 2);
		nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_REG_ADDR_MAX, NFT_REG_1);
		nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_REG_PROTO_MAX, NFT_REG32_01);
	} else if (!strcmp(name, "lookup") && !nftnl_expr_is_set(expr, NFTNL_EXPR_LOOKUP_FLAGS)) {
		nftnl_expr_set_u32(expr, NFTNL_EXPR_LOOKUP_FLAGS, 0);
	}
	return 0;
}

static void feed_rule(struct nb_structure *structure, const char *chain, uint32_t mark,
		      const enum nb_statement *statements, void (*edit)(struct nftnl_rule *))
{
	struct nftnl_rule *rule = nftnl_rule_alloc();

	nftnl_rule_set_str(rule, NFTNL_RULE_TABLE, NB_TABLE_NAME);
	nftnl_rule_set_str(rule, NFTNL_RULE_CHAIN, chain);
	ck_assert_int_eq(nb_statements_build(rule, NFPROTO_INET, mark, statements, 4), 0);
	if (edit)
		edit(rule);
	rule = rule_dumped(rule);
	nftnl_expr_foreach(rule, fill_in, NULL);
	nb_structure_rule(structure, rule);
	nftnl_rule_free(rule);
}

static void feed_rules(struct nb_structure *structure, const struct nb_schema_chain *chain,
		       const struct damage *damage)
{
	uint32_t mark = damage->mark ? damage->mark : NB_MARK_DEFAULT;

	for (size_t i = 0; chain->rules[i][0] != NB_END; i++) {
		bool here = is(chain->name, damage->rules) && damage->position == i;
		const enum nb_statement *statements = chain->rules[i];

		if (here && damage->lacks_rule)
			continue;
		if (here && damage->replaced)
			statements = damage->statements;
		for (int times = here && damage->doubles_rule ? 2 : 1; times > 0; times--)
			feed_rule(structure, chain->name, mark, statements,
				  here ? damage->edit_rule : NULL);
	}
}

/* Feed the table in the order of the kernel's dumps; its damage goes to @words. */
static bool feed(const struct damage *damage, char *words, size_t size)
{
	struct nb_structure structure = { .damage = words,
					  .damage_size = size,
					  .mark = NB_MARK_DEFAULT };
	static const uint8_t both[] = { IPPROTO_TCP, IPPROTO_UDP };

	words[0] = '\0';
	for (size_t i = 0; i < nb_schema_chain_count; i++) {
		const struct nb_schema_chain *chain = &nb_schema_chains[i];

		if (!is(chain->name, damage->lacks))
			feed_chain(&structure, chain, chain->name,
				   is(chain->name, damage->chain) ? damage->edit_chain : NULL);
	}
	if (damage->extra_chain)
		feed_chain(&structure, &nb_schema_chains[0], damage->extra_chain, NULL);
	for (size_t i = 0; i < nb_schema_set_count; i++) {
		const struct nb_schema_set *set = &nb_schema_sets[i];
		bool edited = is(set->name, damage->set);

		if (!is(set->name, damage->lacks))
			feed_set(&structure, set, set->name,
				 set->counter != (edited && damage->flips_counter),
				 edited ? damage->edit_set : NULL);
	}
	if (damage->extra_set)
		feed_set(&structure, &nb_schema_sets[0], damage->extra_set, false, NULL);
	feed_anonymous_set(&structure);
	feed_anonymous_set(&structure);
	for (size_t i = 0; i < nb_schema_chain_count; i++)
		if (!is(nb_schema_chains[i].name, damage->lacks))
			feed_rules(&structure, &nb_schema_chains[i], damage);
	for (size_t i = 0; i < structure.anonymous_count; i++) {
		ck_assert_int_eq(strncmp(structure.anonymous[i], "__set1", 6), 0);
		if (damage->other_protocols)
			nb_structure_anonymous(&structure, damage->protocols,
					       damage->protocol_count);
		else
			nb_structure_anonymous(&structure, both, sizeof(both));
	}
	return nb_structure_is_sound(&structure);
}

static void expect_damage(const struct damage *damage, const char *wording)
{
	char words[256];

	ck_assert_msg(!feed(damage, words, sizeof(words)), "not found: %s", wording);
	ck_assert_str_eq(words, wording);
}

#define EXPECT(wording, ...) expect_damage(&(struct damage){ __VA_ARGS__ }, wording)

START_TEST(sound)
{
	struct damage none = { .lacks = NULL };
	struct damage order = {
		.other_protocols = true,
		.protocols = { IPPROTO_UDP, IPPROTO_TCP },
		.protocol_count = 2,
	};
	char words[256];

	ck_assert_msg(feed(&none, words, sizeof(words)), "%s", words);
	ck_assert_str_eq(words, "");
	ck_assert_msg(feed(&order, words, sizeof(words)), "%s", words);
}
END_TEST

/* Newer nft describes concatenations by a flag of its own. */
static void flag_concat(struct nftnl_set *set)
{
	nftnl_set_set_u32(set, NFTNL_SET_FLAGS, nftnl_set_get_u32(set, NFTNL_SET_FLAGS) | 0x80);
}

START_TEST(sound_with_concat_flag)
{
	char words[256];

	for (size_t i = 0; i < nb_schema_set_count; i++) {
		struct damage damage = { .set = nb_schema_sets[i].name, .edit_set = flag_concat };

		ck_assert_msg(feed(&damage, words, sizeof(words)), "%s", words);
	}
}
END_TEST

/* The mark of the configuration counts, not the default. */
START_TEST(another_mark)
{
	EXPECT("rule 1 of chain translated differs", .mark = 0x20000000);
}
END_TEST

/* Chains */

static void other_hook(struct nftnl_chain *chain)
{
	nftnl_chain_set_u32(chain, NFTNL_CHAIN_HOOKNUM, NF_INET_FORWARD);
}

static void other_type(struct nftnl_chain *chain)
{
	nftnl_chain_set_str(chain, NFTNL_CHAIN_TYPE, "route");
}

static void other_priority(struct nftnl_chain *chain)
{
	nftnl_chain_set_s32(chain, NFTNL_CHAIN_PRIO,
			    nftnl_chain_get_s32(chain, NFTNL_CHAIN_PRIO) ^ 1);
}

static void other_policy(struct nftnl_chain *chain)
{
	nftnl_chain_set_u32(chain, NFTNL_CHAIN_POLICY, NF_DROP);
}

static void no_hook(struct nftnl_chain *chain)
{
	nftnl_chain_unset(chain, NFTNL_CHAIN_HOOKNUM);
}

static void some_hook(struct nftnl_chain *chain)
{
	nftnl_chain_set_u32(chain, NFTNL_CHAIN_HOOKNUM, NF_INET_LOCAL_IN);
}

START_TEST(damaged_chains)
{
	char wording[256];

	for (size_t i = 0; i < nb_schema_chain_count; i++) {
		const struct nb_schema_chain *chain = &nb_schema_chains[i];

		snprintf(wording, sizeof(wording), "chain %s is missing", chain->name);
		EXPECT(wording, .lacks = chain->name);
		if (!chain->type) {
			snprintf(wording, sizeof(wording), "chain %s has a hook", chain->name);
			EXPECT(wording, .chain = chain->name, .edit_chain = some_hook);
			continue;
		}
		snprintf(wording, sizeof(wording), "chain %s has lost its hook", chain->name);
		EXPECT(wording, .chain = chain->name, .edit_chain = no_hook);
		snprintf(wording, sizeof(wording), "chain %s has another hook or type",
			 chain->name);
		EXPECT(wording, .chain = chain->name, .edit_chain = other_hook);
		EXPECT(wording, .chain = chain->name, .edit_chain = other_type);
		snprintf(wording, sizeof(wording), "chain %s has priority %d instead of %d",
			 chain->name, chain->priority ^ 1, chain->priority);
		EXPECT(wording, .chain = chain->name, .edit_chain = other_priority);
		snprintf(wording, sizeof(wording), "chain %s has another policy", chain->name);
		EXPECT(wording, .chain = chain->name, .edit_chain = other_policy);
	}
	EXPECT("chain guard2 is not ours", .extra_chain = "guard2");
	EXPECT("chain  is not ours", .extra_chain = "");
}
END_TEST

/* A rule of a chain that is not ours adds nothing to that chain's own damage. */
START_TEST(rule_of_unknown_chain)
{
	static const enum nb_statement statements[] = { NB_ACCEPT, NB_END };
	char words[64] = "";
	struct nb_structure structure = { .damage = words,
					  .damage_size = sizeof(words),
					  .mark = NB_MARK_DEFAULT };

	feed_rule(&structure, "elsewhere", NB_MARK_DEFAULT, statements, NULL);
	ck_assert_str_eq(words, "");
}
END_TEST

/* Sets */

static void other_key_type(struct nftnl_set *set)
{
	nftnl_set_set_u32(set, NFTNL_SET_KEY_TYPE, 7);
}

static void other_key_length(struct nftnl_set *set)
{
	nftnl_set_set_u32(set, NFTNL_SET_KEY_LEN, 4);
}

static void other_data_length(struct nftnl_set *set)
{
	nftnl_set_set_u32(set, NFTNL_SET_DATA_LEN, 4);
}

static void flag_interval(struct nftnl_set *set)
{
	nftnl_set_set_u32(set, NFTNL_SET_FLAGS,
			  nftnl_set_get_u32(set, NFTNL_SET_FLAGS) | NFT_SET_INTERVAL);
}

static void flip_timeout(struct nftnl_set *set)
{
	nftnl_set_set_u32(set, NFTNL_SET_FLAGS,
			  nftnl_set_get_u32(set, NFTNL_SET_FLAGS) ^ NFT_SET_TIMEOUT);
}

static void flip_map(struct nftnl_set *set)
{
	nftnl_set_set_u32(set, NFTNL_SET_FLAGS,
			  nftnl_set_get_u32(set, NFTNL_SET_FLAGS) ^ NFT_SET_MAP);
}

START_TEST(damaged_sets)
{
	static void (*const edits[])(struct nftnl_set *) = {
		other_key_type, other_key_length, flag_interval, flip_timeout, flip_map,
	};
	char wording[256];

	for (size_t i = 0; i < nb_schema_set_count; i++) {
		const char *name = nb_schema_sets[i].name;

		snprintf(wording, sizeof(wording), "set %s is missing", name);
		EXPECT(wording, .lacks = name);
		snprintf(wording, sizeof(wording), "set %s has another type", name);
		for (size_t j = 0; j < COUNT(edits); j++)
			EXPECT(wording, .set = name, .edit_set = edits[j]);
		EXPECT(wording, .set = name, .flips_counter = true);
	}
	EXPECT("set targets has another type", .set = NB_SET_TARGETS,
	       .edit_set = other_data_length);
	EXPECT("set bridges2 is not ours", .extra_set = "bridges2");
}
END_TEST

START_TEST(damaged_anonymous_sets)
{
	static const char wording[] = "the set { tcp, udp } of a rule has other elements";

	EXPECT(wording, .other_protocols = true, .protocol_count = 0);
	EXPECT(wording, .other_protocols = true, .protocols = { IPPROTO_TCP }, .protocol_count = 1);
	EXPECT(wording, .other_protocols = true, .protocols = { IPPROTO_UDP }, .protocol_count = 1);
	EXPECT(wording, .other_protocols = true, .protocols = { IPPROTO_TCP, IPPROTO_SCTP },
	       .protocol_count = 2);
	EXPECT(wording, .other_protocols = true, .protocols = { IPPROTO_ICMP, IPPROTO_UDP },
	       .protocol_count = 2);
	EXPECT(wording, .other_protocols = true,
	       .protocols = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP }, .protocol_count = 3);
}
END_TEST

/* Rules */

static size_t count_rules(const struct nb_schema_chain *chain)
{
	size_t count = 0;

	while (chain->rules[count][0] != NB_END)
		count++;
	return count;
}

START_TEST(missing_and_extra_rules)
{
	char wording[256];

	for (size_t i = 0; i < nb_schema_chain_count; i++) {
		const struct nb_schema_chain *chain = &nb_schema_chains[i];
		size_t count = count_rules(chain), last = count - 1;

		snprintf(wording, sizeof(wording), "chain %s lacks 1 of its %zu rules", chain->name,
			 count);
		EXPECT(wording, .rules = chain->name, .position = last, .lacks_rule = true);
		snprintf(wording, sizeof(wording), "chain %s has a rule too many", chain->name);
		EXPECT(wording, .rules = chain->name, .position = last, .doubles_rule = true);
		/* the place of the first one is taken by the second */
		snprintf(wording, sizeof(wording), "rule 1 of chain %s differs", chain->name);
		if (count > 1)
			EXPECT(wording, .rules = chain->name, .position = 0, .lacks_rule = true);
	}
}
END_TEST

/* Every statement of every rule counts: left out, and in exchange for any other one. */
START_TEST(changed_rules)
{
	char wording[256];

	for (size_t i = 0; i < nb_schema_chain_count; i++) {
		const struct nb_schema_chain *chain = &nb_schema_chains[i];

		for (size_t j = 0; j < count_rules(chain); j++) {
			struct damage damage = { .rules = chain->name,
						 .position = j,
						 .replaced = true };
			const enum nb_statement *rule = chain->rules[j];

			snprintf(wording, sizeof(wording), "rule %zu of chain %s differs", j + 1,
				 chain->name);
			for (size_t k = 0; rule[k] != NB_END; k++) {
				memcpy(damage.statements, rule, sizeof(damage.statements));
				memmove(&damage.statements[k], &damage.statements[k + 1],
					(NB_SCHEMA_STATEMENTS - 1 - k) * sizeof(*rule));
				expect_damage(&damage, wording);
				memcpy(damage.statements, rule, sizeof(damage.statements));
				for (unsigned int other = 1; other < NB_STATEMENT_COUNT; other++) {
					damage.statements[k] = (enum nb_statement)other;
					if (damage.statements[k] != rule[k])
						expect_damage(&damage, wording);
				}
			}
		}
	}
}
END_TEST

static int find_nat(struct nftnl_expr *expr, void *data)
{
	struct nftnl_expr **found = data;

	if (!strcmp(nftnl_expr_get_str(expr, NFTNL_EXPR_NAME), "nat"))
		*found = expr;
	return 0;
}

static void other_nat(struct nftnl_rule *rule)
{
	struct nftnl_expr *nat = NULL;

	nftnl_expr_foreach(rule, find_nat, &nat);
	nftnl_expr_set_u32(nat, NFTNL_EXPR_NAT_TYPE, NFT_NAT_SNAT);
}

static void other_port_register(struct nftnl_rule *rule)
{
	struct nftnl_expr *nat = NULL;

	nftnl_expr_foreach(rule, find_nat, &nat);
	nftnl_expr_set_u32(nat, NFTNL_EXPR_NAT_REG_PROTO_MIN, NFT_REG32_02);
}

static void one_more(struct nftnl_rule *rule)
{
	rule_add(rule, "notrack");
}

START_TEST(edited_rules)
{
	EXPECT("rule 1 of chain translate differs", .rules = "translate", .edit_rule = other_nat);
	EXPECT("rule 1 of chain translate differs", .rules = "translate",
	       .edit_rule = other_port_register);
	EXPECT("rule 2 of chain guard differs", .rules = "guard", .position = 1,
	       .edit_rule = one_more);
}
END_TEST

/* The first damage is the one that is told, and a short buffer is kept within. */
START_TEST(wording_bounded)
{
	struct damage two = { .extra_chain = "first", .extra_set = "second" };
	char words[32];

	memset(words, 'x', sizeof(words));
	ck_assert(!feed(&two, words, 10));
	ck_assert_str_eq(words, "chain fir");
	ck_assert_int_eq(words[10], 'x');
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ruleset structure");

	unit_add(suite, "sound", sound);
	unit_add(suite, "sound_with_concat_flag", sound_with_concat_flag);
	unit_add(suite, "another_mark", another_mark);
	unit_add(suite, "damaged_chains", damaged_chains);
	unit_add(suite, "rule_of_unknown_chain", rule_of_unknown_chain);
	unit_add(suite, "damaged_sets", damaged_sets);
	unit_add(suite, "damaged_anonymous_sets", damaged_anonymous_sets);
	unit_add(suite, "missing_and_extra_rules", missing_and_extra_rules);
	unit_add(suite, "changed_rules", changed_rules);
	unit_add(suite, "edited_rules", edited_rules);
	unit_add(suite, "wording_bounded", wording_bounded);
	return unit_run(suite);
}
