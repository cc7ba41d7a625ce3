/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading the state from a kernel in memory: our elements, what others have, and faults. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <netinet/in.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>

#include "fake_kernel.h"
#include "nat-bridge/plan.h"
#include "reading.h"
#include "nft_rules.h"
#include "ruleset/opener.h"
#include "unit.h"

START_TEST(empty_kernel)
{
	set_up(0);
	must_read();
	ck_assert_int_eq(state.table, NB_TABLE_ABSENT);
	ck_assert_uint_eq(state.generation, fake.generation);
	ck_assert_uint_eq(state.links.count, 2);
	ck_assert_uint_eq(state.bridges.count + state.targets.count + state.chain_count, 0);
	nb_state_clear(&state);
	ck_assert_int_eq(nb_state_read_devices(nl, MARK, &state, &err), 0);
	ck_assert_uint_eq(state.generation, fake.generation);
	ck_assert_uint_eq(state.links.count, 2);
	tear_down();
}
END_TEST

START_TEST(everything_of_ours)
{
	set_up(250);
	must_read();
	ck_assert_int_eq(state.table, NB_TABLE_SOUND);
	ck_assert_str_eq(state.damage, "");
	ck_assert(!state.partial);
	ck_assert_uint_eq(state.targets.count, 251);
	ck_assert_uint_eq(state.accepted.count, 251);
	for (size_t i = 1; i < 251; i++)
		ck_assert_int_lt(
			nb_element_compare(&state.targets.items[i - 1], &state.targets.items[i]),
			0);
	ck_assert_uint_eq(state.targets.items[7].port, 1007);
	ck_assert_str_eq(state.targets.items[250].comment, "runtime/docker:web");
	ck_assert_int_gt(state.targets.items[250].expires, nb_now_ms() + 990000);
	ck_assert_int_eq(state.targets.items[249].expires, 0);
	ck_assert_uint_eq(state.bridges.count, 2);
	ck_assert_str_eq(state.bridges.items[0].comment, "iface:br0/previous:1");
	ck_assert_str_eq(state.bridges.items[1].comment, "docker:web");
	tear_down();
}
END_TEST

START_TEST(only_what_was_asked_for)
{
	struct nb_element_list keys = { 0 };
	struct nb_element key = { .bridge = "br0", .protocol = IPPROTO_TCP, .port = 1003 };

	set_up(250);
	/* one that is there with another target, and one that is not there */
	key.target = (struct nb_target){ INADDR_LOOPBACK, 99 };
	ck_assert_int_eq(nb_element_list_append(&keys, &key), 0);
	key.port = 9;
	ck_assert_int_eq(nb_element_list_append(&keys, &key), 0);
	ck_assert_int_eq(read_with(&keys, 0), 0);
	ck_assert(state.partial);
	ck_assert_uint_eq(state.targets.count, 1);
	ck_assert_uint_eq(state.targets.items[0].target.port, 80);
	/* of `accepted` what belongs to the target that the kernel has */
	ck_assert_uint_eq(state.accepted.count, 1);
	ck_assert_uint_eq(state.accepted.items[0].target.port, 80);
	ck_assert_uint_eq(state.bridges.count, 2);

	/* the same target: asked for once */
	keys.items[0].target.port = 80;
	keys.count = 1;
	ck_assert_int_eq(read_with(&keys, 0), 0);
	ck_assert_uint_eq(state.accepted.count, 1);
	keys.count = 2;

	/* an element in `accepted` alone is found by the target asked for */
	ck_assert_uint_eq(fake_expire("targets", "br0"), 250);
	ck_assert_int_eq(read_with(&keys, 0), 0);
	ck_assert_uint_eq(state.targets.count, 0);
	ck_assert_uint_eq(state.accepted.count, 1);

	/* a table that is not sound is read whole */
	fake_delete_rule(NFPROTO_INET, NB_TABLE_NAME, "guard", 1);
	ck_assert_int_eq(read_with(&keys, 0), 0);
	ck_assert(!state.partial);
	ck_assert_int_eq(state.table, NB_TABLE_DAMAGED);
	ck_assert_uint_eq(state.accepted.count, 251);
	nb_element_list_clear(&keys);
	tear_down();
}
END_TEST

/* Others */

static uint64_t add_opener(uint8_t family, const char *table, const char *chain, uint32_t mark,
			   bool append)
{
	struct nb_input_chain input = { .family = family };
	struct nftnl_rule *rule = new_rule(family, table, chain);

	ck_assert_int_eq(nb_opener_build(rule, &input, mark), 0);
	return fake_add_rule(rule, append);
}

static uint64_t add_verdict(uint8_t family, const char *table, const char *chain, int verdict)
{
	struct nftnl_rule *rule = new_rule(family, table, chain);

	rule_add_verdict(rule, verdict, NULL);
	return fake_add_rule(rule, true);
}

static const struct nb_input_chain *chain_of(const char *table, const char *name)
{
	for (size_t i = 0; i < state.chain_count; i++)
		if (strcmp(state.chains[i].table, table) == 0 &&
		    strcmp(state.chains[i].name, name) == 0)
			return &state.chains[i];
	ck_abort_msg("no chain %s %s", table, name);
}

START_TEST(input_chains)
{
	static const struct {
		uint8_t family;
		const char *table, *name, *type;
		uint32_t hook, policy;
		bool seen, iptables, can_drop, owned;
	} rows[] = {
		{ NFPROTO_IPV4, "filter", "INPUT", "filter", NF_INET_LOCAL_IN, NF_DROP, true, true,
		  true, false },
		{ NFPROTO_IPV4, "mangle", "INPUT", "filter", NF_INET_LOCAL_IN, NF_ACCEPT, true,
		  true, false, false },
		{ NFPROTO_IPV4, "nat", "INPUT", "nat", NF_INET_LOCAL_IN, NF_ACCEPT, true, true,
		  false, false },
		{ NFPROTO_IPV4, "filter", "input", "filter", NF_INET_LOCAL_IN, NF_DROP, true, false,
		  true, false },
		{ NFPROTO_IPV4, "mine", "INPUT", "filter", NF_INET_LOCAL_IN, NF_DROP, true, false,
		  true, false },
		{ NFPROTO_INET, "filter", "INPUT", "filter", NF_INET_LOCAL_IN, NF_DROP, true, false,
		  true, false },
		{ NFPROTO_INET, "owned", "input", "filter", NF_INET_LOCAL_IN, NF_DROP, true, false,
		  true, true },
		/* these never see our packets */
		{ NFPROTO_IPV6, "filter", "INPUT", "filter", NF_INET_LOCAL_IN, NF_DROP, false,
		  false, false, false },
		{ NFPROTO_INET, "filter", "FORWARD", "filter", NF_INET_FORWARD, NF_DROP, false,
		  false, false, false },
		{ NFPROTO_INET, "filter", "jumped", NULL, 0, 0, false, false, false, false },
		{ NFPROTO_BRIDGE, "filter", "INPUT", "filter", NF_INET_LOCAL_IN, NF_DROP, false,
		  false, false, false },
	};
	size_t seen = 0;

	set_up(0);
	fake_add_table(NFPROTO_IPV4, "filter", 0, NULL);
	fake_add_table(NFPROTO_IPV4, "mangle", 0, NULL);
	fake_add_table(NFPROTO_IPV4, "nat", 0, NULL);
	fake_add_table(NFPROTO_IPV4, "mine", 0, NULL);
	fake_add_table(NFPROTO_IPV4, "owned", 0, NULL);
	fake_add_table(NFPROTO_INET, "filter", 0, NULL);
	fake_add_table(NFPROTO_INET, "owned", 2, NULL);
	fake_add_table(NFPROTO_IPV6, "filter", 0, NULL);
	fake_add_table(NFPROTO_BRIDGE, "filter", 0, NULL);
	for (size_t i = 0; i < COUNT(rows); i++)
		fake_add_chain(rows[i].family, rows[i].table, rows[i].name, rows[i].type,
			       rows[i].hook, 0, rows[i].policy);
	must_read();
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct nb_input_chain *chain = &state.chains[seen];

		if (!rows[i].seen)
			continue;
		ck_assert_uint_lt(seen, state.chain_count);
		ck_assert_uint_eq(chain->family, rows[i].family);
		ck_assert_str_eq(chain->table, rows[i].table);
		ck_assert_str_eq(chain->name, rows[i].name);
		ck_assert_int_eq(chain->iptables, rows[i].iptables);
		ck_assert_int_eq(chain->can_drop, rows[i].can_drop);
		ck_assert_int_eq(chain->owned, rows[i].owned);
		seen++;
	}
	ck_assert_uint_eq(state.chain_count, seen);
	tear_down();
}
END_TEST

START_TEST(openers_are_found)
{
	const struct nb_input_chain *chain;
	uint64_t handles[4];

	set_up(0);
	fake_add_table(NFPROTO_INET, "f", 0, NULL);
	fake_add_chain(NFPROTO_INET, "f", "a", "filter", NF_INET_LOCAL_IN, 0, NF_ACCEPT);
	fake_add_chain(NFPROTO_INET, "f", "b", "filter", NF_INET_LOCAL_IN, 0, NF_ACCEPT);
	fake_add_chain(NFPROTO_INET, "f", "c", "filter", NF_INET_LOCAL_IN, 0, NF_ACCEPT);
	/* behind an accept it works; the second one is doubled; another mark is outdated */
	add_verdict(NFPROTO_INET, "f", "a", NF_ACCEPT);
	handles[0] = add_opener(NFPROTO_INET, "f", "a", MARK, true);
	handles[1] = add_opener(NFPROTO_INET, "f", "a", MARK, true);
	handles[2] = add_opener(NFPROTO_INET, "f", "a", 0x100, false);
	/* behind a rule that drops it does not work */
	add_verdict(NFPROTO_INET, "f", "b", NF_DROP);
	handles[3] = add_opener(NFPROTO_INET, "f", "b", MARK, true);
	must_read();
	chain = chain_of("f", "a");
	ck_assert_uint_eq(chain->keep, handles[0]);
	ck_assert_uint_eq(chain->extra_count, 2);
	ck_assert_uint_eq(chain->extra[0], handles[2]);
	ck_assert_uint_eq(chain->extra[1], handles[1]);
	ck_assert(!chain->can_drop);
	chain = chain_of("f", "b");
	ck_assert_uint_eq(chain->keep, 0);
	ck_assert_uint_eq(chain->extra_count, 1);
	ck_assert_uint_eq(chain->extra[0], handles[3]);
	ck_assert(chain->can_drop);
	chain = chain_of("f", "c");
	ck_assert(!chain->can_drop && !chain->keep && !chain->extra_count);

	/* a rule that nobody here can read may do anything */
	fake_add_unreadable_rule(NFPROTO_INET, "f", "c");
	handles[0] = add_opener(NFPROTO_INET, "f", "c", MARK, true);
	must_read();
	chain = chain_of("f", "c");
	ck_assert(chain->can_drop && !chain->keep);
	ck_assert_uint_eq(chain->extra_count, 1);
	ck_assert_uint_eq(chain->extra[0], handles[0]);
	tear_down();
}
END_TEST

/* iifname "br0" tcp dport 80 dnat to @address; @device NULL: any. */
static struct nftnl_rule *native_dnat(const char *device, uint8_t first_byte)
{
	struct nftnl_rule *rule = new_rule(NFPROTO_INET, "n", "pre");
	uint8_t address[4] = { first_byte, 0, 0, 1 };
	char name[16] = "";
	struct nftnl_expr *e;

	if (device) {
		strncpy(name, device, sizeof(name) - 1);
		rule_add_meta(rule, NFT_META_IIFNAME);
		rule_add_compare(rule, NFT_CMP_EQ, name, sizeof(name));
	}
	rule_add_meta(rule, NFT_META_L4PROTO);
	rule_add_compare(rule, NFT_CMP_EQ, "\6", 1);
	e = rule_add(rule, "immediate");
	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_2);
	nftnl_expr_set(e, NFTNL_EXPR_IMM_DATA, address, sizeof(address));
	e = rule_add(rule, "nat");
	nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_TYPE, NFT_NAT_DNAT);
	nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_FAMILY, NFPROTO_IPV4);
	nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_REG_ADDR_MIN, NFT_REG_2);
	return rule;
}

static struct nftnl_rule *xt_dnat(const char *name, uint32_t revision, uint32_t address)
{
	struct nftnl_rule *rule = new_rule(NFPROTO_IPV4, "nat", "PREROUTING");
	struct nftnl_expr *e = rule_add(rule, "target");
	char *info = calloc(1, 64);
	uint32_t length;

	ck_assert_ptr_nonnull(info);
	if (revision == 0) {
		struct nf_nat_ipv4_multi_range_compat old = { .rangesize = 1 };

		old.range[0].flags = NF_NAT_RANGE_MAP_IPS;
		old.range[0].min_ip = htonl(address);
		length = sizeof(old);
		memcpy(info, &old, length);
	} else {
		struct nf_nat_range2 range = { .flags = NF_NAT_RANGE_MAP_IPS };

		range.min_addr.ip = htonl(address);
		length = revision == 1 ? sizeof(struct nf_nat_range) : sizeof(range);
		memcpy(info, &range, length);
	}
	nftnl_expr_set_str(e, NFTNL_EXPR_TG_NAME, name);
	nftnl_expr_set_u32(e, NFTNL_EXPR_TG_REV, revision);
	nftnl_expr_set(e, NFTNL_EXPR_TG_INFO, info, length);
	return rule;
}

START_TEST(dnat_of_others)
{
	uint64_t any, bridge, old, range, range2;

	set_up(0);
	fake_add_table(NFPROTO_INET, "n", 0, NULL);
	fake_add_chain(NFPROTO_INET, "n", "pre", "nat", NF_INET_PRE_ROUTING, -100, NF_ACCEPT);
	fake_add_table(NFPROTO_IPV4, "nat", 0, NULL);
	fake_add_chain(NFPROTO_IPV4, "nat", "PREROUTING", "nat", NF_INET_PRE_ROUTING, -100,
		       NF_ACCEPT);
	any = fake_add_rule(native_dnat(NULL, 127), true);
	bridge = fake_add_rule(native_dnat("br0", 127), true);
	fake_add_rule(native_dnat("br0", 10), true);
	old = fake_add_rule(xt_dnat("DNAT", 0, 0x7f000001), true);
	range = fake_add_rule(xt_dnat("DNAT", 1, 0x7f000001), true);
	range2 = fake_add_rule(xt_dnat("DNAT", 2, 0x7f000001), true);
	fake_add_rule(xt_dnat("DNAT", 0, 0x0a000001), true);
	fake_add_rule(xt_dnat("DNAT", 2, 0x0a000001), true);
	fake_add_rule(xt_dnat("SNAT", 2, 0x7f000001), true);
	must_read();
	ck_assert_uint_eq(state.dnat_count, 5);
	ck_assert_uint_eq(state.dnats[0].handle, any);
	ck_assert_str_eq(state.dnats[0].bridge, "");
	ck_assert_str_eq(state.dnats[0].table, "n");
	ck_assert_str_eq(state.dnats[0].chain, "pre");
	ck_assert_uint_eq(state.dnats[0].family, NFPROTO_INET);
	ck_assert_uint_eq(state.dnats[1].handle, bridge);
	ck_assert_str_eq(state.dnats[1].bridge, "br0");
	ck_assert_uint_eq(state.dnats[2].handle, old);
	ck_assert_uint_eq(state.dnats[2].family, NFPROTO_IPV4);
	ck_assert_uint_eq(state.dnats[3].handle, range);
	ck_assert_uint_eq(state.dnats[4].handle, range2);
	/* not asked for: not read */
	ck_assert_int_eq(read_with(NULL, 0), 0);
	ck_assert_uint_eq(state.dnat_count, 0);
	tear_down();
}
END_TEST

/* Faults */

static void somebody_commits(void)
{
	fake.generation++;
}

static void build_all(void)
{
	set_up(3);
	fake_add_table(NFPROTO_IPV4, "filter", 0, NULL);
	fake_add_chain(NFPROTO_IPV4, "filter", "INPUT", "filter", NF_INET_LOCAL_IN, 0, NF_DROP);
	fake_add_table(NFPROTO_IPV4, "nat", 0, NULL);
	fake_add_chain(NFPROTO_IPV4, "nat", "PREROUTING", "nat", NF_INET_PRE_ROUTING, -100,
		       NF_ACCEPT);
}

START_TEST(a_torn_reading_is_refused)
{
	unsigned int exchanges;

	build_all();
	must_read();
	exchanges = fake.exchanges;
	ck_assert_uint_gt(exchanges, 10);
	fake.hook = somebody_commits;
	for (unsigned int at = 2; at <= exchanges; at++) {
		fake.hook_at = at;
		ck_assert_int_eq(read_with(NULL, NB_READ_DNAT), -EAGAIN);
		ck_assert_str_eq(err.code, "busy");
	}
	/* before the first look and behind the last one it does not matter */
	fake.hook_at = 1;
	must_read();
	fake.hook_at = exchanges + 1;
	must_read();
	tear_down();
}
END_TEST

START_TEST(each_failure_is_named)
{
	static const struct {
		int number;
		int result;
	} faults[] = {
		{ -EPERM, -EPERM },   { -ENOBUFS, -ENOBUFS }, { -EINTR, -EAGAIN },
		{ -ENOENT, -EAGAIN }, { -ENOMEM, -ENOMEM },   { -ETIMEDOUT, -ETIMEDOUT },
	};
	unsigned int exchanges;

	build_all();
	must_read();
	exchanges = fake.exchanges;
	for (int half = 0; half < 2; half++)
		for (size_t i = 0; i < COUNT(faults); i++)
			for (unsigned int at = 1; at <= exchanges; at++) {
				int r, expected = faults[i].result;

				memset(&err, 0, sizeof(err));
				fake.half_dump = half;
				fake.fail_at = at;
				fake.number = faults[i].number;
				r = read_with(NULL, NB_READ_DNAT);
				/* asked again at once: devices; or as good as empty: a set */
				if (r == 0) {
					ck_assert(faults[i].number == -EINTR ||
						  faults[i].number == -ENOENT);
					continue;
				}
				ck_assert_msg(r == expected || r == faults[i].number,
					      "%d at %u: %d", faults[i].number, at, r);
				ck_assert_int_eq(err.status, NB_STATUS_FAILED);
				ck_assert_ptr_nonnull(strstr(err.message, "read "));
			}
	fake.fail_at = 0;
	must_read();
	ck_assert_int_eq(state.table, NB_TABLE_SOUND);
	tear_down();
}
END_TEST

START_TEST(kernels_without_nf_tables)
{
	static const int numbers[] = { -EINVAL, -EOPNOTSUPP, -EPROTONOSUPPORT };

	set_up(0);
	for (size_t i = 0; i < COUNT(numbers); i++) {
		fake.fail_at = 1;
		fake.number = numbers[i];
		ck_assert_int_eq(read_with(NULL, 0), -EPROTONOSUPPORT);
		ck_assert_str_eq(err.code, "unsupported");
		ck_assert_ptr_nonnull(strstr(err.message, "modprobe nf_tables"));
		nb_state_clear(&state);
		fake.exchanges = 0;
		ck_assert_int_eq(nb_state_read_devices(nl, MARK, &state, &err), -EPROTONOSUPPORT);
	}
	/* generation 0 would switch the kernel's check off */
	fake.fail_at = 0;
	fake.generation = 0;
	ck_assert_int_eq(read_with(NULL, 0), -EPROTONOSUPPORT);
	tear_down();
}
END_TEST

START_TEST(failures_of_single_questions)
{
	struct nb_element_list keys = { 0 };
	struct nb_element key = { .bridge = "br0", .protocol = IPPROTO_TCP, .port = 1000 };
	unsigned int exchanges;

	set_up(2);
	key.target = (struct nb_target){ INADDR_LOOPBACK, 80 };
	ck_assert_int_eq(nb_element_list_append(&keys, &key), 0);
	ck_assert_int_eq(read_with(&keys, 0), 0);
	exchanges = fake.exchanges;
	for (unsigned int at = 1; at <= exchanges; at++) {
		fake.fail_at = at;
		fake.number = -EPERM;
		ck_assert_int_eq(read_with(&keys, 0), -EPERM);
		ck_assert_str_eq(err.code, "permission");
	}
	nb_element_list_clear(&keys);
	tear_down();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ruleset_state");

	unit_add(suite, "empty_kernel", empty_kernel);
	unit_add(suite, "everything_of_ours", everything_of_ours);
	unit_add(suite, "only_what_was_asked_for", only_what_was_asked_for);
	unit_add(suite, "input_chains", input_chains);
	unit_add(suite, "openers_are_found", openers_are_found);
	unit_add(suite, "dnat_of_others", dnat_of_others);
	unit_add(suite, "a_torn_reading", a_torn_reading_is_refused);
	unit_add(suite, "each_failure", each_failure_is_named);
	unit_add(suite, "without_nf_tables", kernels_without_nf_tables);
	unit_add(suite, "single_questions", failures_of_single_questions);
	return unit_run(suite);
}
