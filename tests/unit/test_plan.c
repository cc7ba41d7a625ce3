/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Plans of hand-made states: what is done, and in which order. */
#include <errno.h>
#include <netinet/in.h>
#include <linux/netfilter.h>
#include <string.h>

#include "unit.h"
#include "world.h"

#define EXPECT(world, text) ck_assert_str_eq(planned(world), text)

START_TEST(nothing_at_all)
{
	struct world w = { 0 };

	has_link(&w, "br0", 3, 0, 0);
	has_link(&w, "eth0", 2, 1, 0);
	has_chain(&w, NFPROTO_IPV4, "filter", "INPUT", true, 0);
	EXPECT(&w, "");
	ck_assert(nb_plan_is_empty(&w.plan));
	world_clear(&w);
}
END_TEST

START_TEST(add_on_empty)
{
	struct world w = { 0 };

	has_link(&w, "br0", 3, 0, 0);
	has_chain(&w, NFPROTO_IPV4, "filter", "INPUT", true, 0);
	has_chain(&w, NFPROTO_INET, "f", "open", false, 0);
	wants_usual(&w);
	EXPECT(&w, "first +table +B:br0(iface:br0) +T:br0.tcp.80>80 +T:br0.udp.53>53 "
		   "+A:br0.tcp.80>80 +A:br0.udp.53>53 +O:ip.filter.INPUT | "
		   "enable br0 1 6e620000 | started 3:53>53");
	ck_assert(!nb_plan_is_empty(&w.plan));
	world_clear(&w);
}
END_TEST

START_TEST(second_run_does_nothing)
{
	struct world w = { 0 };

	has_usual(&w);
	has_chain(&w, NFPROTO_IPV4, "filter", "INPUT", true, 9);
	wants_usual(&w);
	EXPECT(&w, "");
	ck_assert(nb_plan_is_empty(&w.plan));

	/* counters are no difference */
	last(&w.state.targets)->packets = 17;
	last(&w.state.accepted)->bytes = 4711;
	EXPECT(&w, "");
	ck_assert_str_eq(findings(&w), "");
	world_clear(&w);
}
END_TEST

START_TEST(one_more_and_one_less)
{
	struct world w = { 0 };

	has_usual(&w);
	wants_usual(&w);
	wants(&w, "br0", "iface:br0", IPPROTO_TCP, 81, 8081);
	EXPECT(&w, "first +T:br0.tcp.81>8081 +A:br0.tcp.81>8081");
	world_clear(&w);

	has_usual(&w);
	wants(&w, "br0", "iface:br0", IPPROTO_UDP, 53, 53);
	EXPECT(&w, "first -T:br0.tcp.80>80 -A:br0.tcp.80>80 | ended 3:80>80");
	world_clear(&w);
}
END_TEST

START_TEST(replaced_target)
{
	struct world w = { 0 };

	has_usual(&w);
	wants(&w, "br0", "iface:br0", IPPROTO_TCP, 80, 8080);
	wants(&w, "br0", "iface:br0", IPPROTO_UDP, 53, 5353);
	EXPECT(&w, "first -T:br0.tcp.80>80 -T:br0.udp.53>53 -A:br0.tcp.80>80 -A:br0.udp.53>53 "
		   "+T:br0.tcp.80>8080 +T:br0.udp.53>5353 +A:br0.tcp.80>8080 +A:br0.udp.53>5353 | "
		   "started 3:53>5353 | ended 3:80>80 3:53>53");
	world_clear(&w);
}
END_TEST

START_TEST(halves_are_mended)
{
	struct world w = { 0 };

	/* an element in one set only */
	has_usual(&w);
	has_target(&w, "br0", IPPROTO_TCP, 81, 81);
	has_accepted(&w, "br0", IPPROTO_TCP, 82, 82);
	wants_usual(&w);
	wants(&w, "br0", "iface:br0", IPPROTO_TCP, 81, 81);
	wants(&w, "br0", "iface:br0", IPPROTO_TCP, 82, 82);
	EXPECT(&w, "first +T:br0.tcp.82>82 +A:br0.tcp.81>81");
	world_clear(&w);

	/* strangers: each set for itself; flows of `accepted` alone end, too */
	has_usual(&w);
	has_target(&w, "br0", IPPROTO_TCP, 81, 81);
	has_accepted(&w, "br0", IPPROTO_TCP, 82, 82);
	has_accepted(&w, "br0", IPPROTO_TCP, 80, 22);
	wants_usual(&w);
	EXPECT(&w, "first -T:br0.tcp.81>81 -A:br0.tcp.80>22 -A:br0.tcp.82>82 | "
		   "ended 3:81>81 3:80>22 3:82>82");
	world_clear(&w);
}
END_TEST

START_TEST(last_one_goes)
{
	struct world w = { 0 };
	struct nb_input_chain *chain;

	has_usual(&w);
	has_link(&w, "eth0", 2, 0, 0);
	chain = has_chain(&w, NFPROTO_IPV4, "filter", "INPUT", true, 9);
	has_extra(chain, 12);
	EXPECT(&w, "first -T:br0.tcp.80>80 -T:br0.udp.53>53 -A:br0.tcp.80>80 -A:br0.udp.53>53 | "
		   "ended 3:80>80 3:53>53 3:0>0 | restore br0 0 0 | second -O:ip.filter.INPUT#12 "
		   "-O:ip.filter.INPUT#9 -table");
	world_clear(&w);

	/* the device is gone: nothing to restore, no flows to tell apart */
	has_usual(&w);
	w.state.links.count = 0;
	EXPECT(&w, "first -T:br0.tcp.80>80 -T:br0.udp.53>53 -A:br0.tcp.80>80 -A:br0.udp.53>53 | "
		   "second -table");
	world_clear(&w);
}
END_TEST

START_TEST(runtime_marks)
{
	struct nb_mapping mapping = mapping_of("iface:br0", IPPROTO_TCP, 80, 80);
	struct world w = { 0 };

	mapping.runtime = true;
	has_usual(&w);
	ck_assert_int_eq(nb_desired_add(&w.desired, "br0", &mapping), 0);
	wants(&w, "br0", "iface:br0", IPPROTO_UDP, 53, 53);
	/* from a file's to a runtime mapping: only `targets` carries the mark, flows live on */
	EXPECT(&w, "first -T:br0.tcp.80>80 +T:br0.tcp.80>80");
	ck_assert_str_eq(w.plan.first.items[1].element->comment, "runtime/iface:br0");
	w.state.targets.items[0].comment = strdup("runtime/iface:br0");
	EXPECT(&w, "");
	/* and back */
	nb_desired_clear(&w.desired);
	wants_usual(&w);
	EXPECT(&w, "first -T:br0.tcp.80>80 +T:br0.tcp.80>80");
	ck_assert_ptr_null(w.plan.first.items[1].element->comment);
	world_clear(&w);
}
END_TEST

START_TEST(timed_mappings)
{
	static const struct {
		int64_t have, want; /* ms */
		bool changed;
	} rows[] = {
		{ 0, 0, false },	   { 0, 100000, true },	      { 100000, 0, true },
		{ 100000, 100000, false }, { 100000, 101000, false }, { 101999, 100000, false },
		{ 98001, 100000, false },  { 102000, 100000, true },  { 98000, 100000, true },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct nb_mapping mapping = mapping_of("iface:br0", IPPROTO_UDP, 80, 80);
		struct world w = { .state.table = NB_TABLE_SOUND };

		has_link(&w, "br0", 3, 1, NB_TAG_MAGIC);
		has_bridge(&w, "br0", "iface:br0");
		has_mapping(&w, "br0", IPPROTO_UDP, 80, 80);
		last(&w.state.targets)->expires = last(&w.state.accepted)->expires = rows[i].have;
		mapping.until = rows[i].want / 1000;
		ck_assert_int_eq(nb_desired_add(&w.desired, "br0", &mapping), 0);
		/* neither ends flows nor begins any */
		ck_assert_msg(strcmp(planned(&w),
				     rows[i].changed ? "first -T:br0.udp.80>80 -A:br0.udp.80>80 "
						       "+T:br0.udp.80>80 +A:br0.udp.80>80"
						     : "") == 0,
			      "row %zu: %s", i, w.text);
		if (rows[i].changed)
			ck_assert_int_eq(w.plan.first.items[2].element->expires, rows[i].want);
		world_clear(&w);
	}
}
END_TEST

START_TEST(damaged_tables_are_made_anew)
{
	struct world w = { 0 };
	static const enum nb_table_state kinds[] = { NB_TABLE_DAMAGED, NB_TABLE_OLDER };

	for (size_t i = 0; i < COUNT(kinds); i++) {
		has_usual(&w);
		w.state.table = kinds[i];
		/* a tagged device of which the broken set lost its element, and one not wanted */
		has_link(&w, "br1", 4, 1, NB_TAG_MAGIC);
		has_link(&w, "br2", 5, 1, NB_TAG_MAGIC);
		has_bridge(&w, "br2", "iface:br2");
		has_mapping(&w, "br2", IPPROTO_TCP, 80, 80);
		has_bridge(&w, "gone", "iface:gone");
		last(&w.state.targets)->packets = 3;
		w.state.targets.items[0].packets = 5;
		w.state.targets.items[0].bytes = 500;
		wants_usual(&w);
		EXPECT(&w, "first -table +table +B:br0(iface:br0) +B:br1() +B:br2(iface:br2) "
			   "+T:br0.tcp.80>80 +T:br0.udp.53>53 +A:br0.tcp.80>80 +A:br0.udp.53>53 | "
			   "ended 5:80>80 5:0>0 | restore br1 0 0 br2 0 0 | second -B:br1 -B:br2");
		/* counts outlive the table */
		ck_assert_uint_eq(w.plan.elements.items[0].packets, 5);
		ck_assert_uint_eq(w.plan.elements.items[0].bytes, 500);
		ck_assert_uint_eq(w.plan.elements.items[1].packets, 0);
		world_clear(&w);
	}

	/* nothing wanted: guards first, all the same */
	has_usual(&w);
	w.state.table = NB_TABLE_DAMAGED;
	EXPECT(&w, "first -table +table +B:br0(iface:br0) | ended 3:80>80 3:53>53 3:0>0 | restore "
		   "br0 0 0 | second -table");
	world_clear(&w);
	/* and without a device there is nothing to protect */
	w.state.table = NB_TABLE_DAMAGED;
	EXPECT(&w, "second -table");
	world_clear(&w);
}
END_TEST

START_TEST(newer_tables_are_left_alone)
{
	struct world w = { 0 };

	has_usual(&w);
	w.state.table = NB_TABLE_NEWER;
	strcpy(w.state.damage, "it has schema 2, this is 1");
	ck_assert_int_lt(nb_plan_make(&w.desired, &w.state, false, &w.plan, &w.warnings, &w.err),
			 0);
	ck_assert_int_eq(w.err.status, NB_STATUS_FAILED);
	ck_assert_str_eq(w.err.code, "newer-schema");
	ck_assert_ptr_nonnull(strstr(w.err.message, "it has schema 2, this is 1"));
	ck_assert(nb_plan_is_empty(&w.plan));
	world_clear(&w);
}
END_TEST

START_TEST(openers)
{
	struct world w = { 0 };
	struct nb_input_chain *chain;

	has_usual(&w);
	wants_usual(&w);
	has_chain(&w, NFPROTO_INET, "f", "missing", true, 0);
	has_chain(&w, NFPROTO_INET, "f", "harmless", false, 0);
	has_chain(&w, NFPROTO_INET, "f", "whole", true, 5);
	/* one that needs none any more may keep it: it harms nobody */
	has_chain(&w, NFPROTO_INET, "f", "idle", false, 6);
	chain = has_chain(&w, NFPROTO_IPV4, "filter", "INPUT", true, 7);
	has_extra(chain, 8);
	has_extra(chain, 9);
	chain = has_chain(&w, NFPROTO_IPV4, "mangle", "INPUT", true, 0);
	has_extra(chain, 10);
	EXPECT(&w, "first +O:inet.f.missing -O:ip.filter.INPUT#8 -O:ip.filter.INPUT#9 "
		   "+O:ip.mangle.INPUT -O:ip.mangle.INPUT#10");
	ck_assert_uint_eq(w.warnings.count, 0);

	/* a chain that belongs to a process is never touched */
	nb_plan_clear(&w.plan);
	world_clear(&w);
	has_usual(&w);
	wants_usual(&w);
	has_chain(&w, NFPROTO_INET, "firewalld", "filter_INPUT", true, 0)->owned = true;
	has_chain(&w, NFPROTO_INET, "firewalld", "open", false, 0)->owned = true;
	has_chain(&w, NFPROTO_INET, "firewalld", "whole", true, 3)->owned = true;
	EXPECT(&w, "");
	world_clear(&w);
}
END_TEST

START_TEST(two_networks_on_one_bridge)
{
	struct nb_mapping mapping = mapping_of("docker:web", IPPROTO_TCP, 80, 80);
	struct world w = { 0 };

	/* the same target merges: a file goes before runtime, and then the longer life */
	has_link(&w, "br0", 3, 0, 0);
	mapping.until = 50;
	mapping.runtime = true;
	ck_assert_int_eq(nb_desired_add(&w.desired, "br0", &mapping), 0);
	mapping = mapping_of("iface:br0", IPPROTO_TCP, 80, 80);
	mapping.until = 60;
	ck_assert_int_eq(nb_desired_add(&w.desired, "br0", &mapping), 0);
	EXPECT(&w, "first +table +B:br0(docker:web/iface:br0) +T:br0.tcp.80>80 +A:br0.tcp.80>80 | "
		   "enable br0 1 6e620000");
	ck_assert_int_eq(w.plan.elements.items[0].expires, 60000);
	ck_assert_ptr_null(w.plan.elements.items[0].comment);
	mapping = mapping_of("podman:x", IPPROTO_TCP, 80, 80);
	mapping.runtime = true;
	ck_assert_int_eq(nb_desired_add(&w.desired, "br0", &mapping), 0);
	planned(&w);
	ck_assert_uint_eq(w.plan.elements.count, 1);
	ck_assert_int_eq(w.plan.elements.items[0].expires, 60000);
	ck_assert_ptr_null(w.plan.elements.items[0].comment);
	mapping.runtime = false;
	ck_assert_int_eq(nb_desired_add(&w.desired, "br0", &mapping), 0);
	planned(&w);
	ck_assert_int_eq(w.plan.elements.items[0].expires, 0);
	world_clear(&w);
	mapping.runtime = true;

	/* both runtime: one mark stays */
	mapping.until = 0;
	ck_assert_int_eq(nb_desired_add(&w.desired, "br0", &mapping), 0);
	mapping.until = 70;
	ck_assert_int_eq(nb_desired_add(&w.desired, "br0", &mapping), 0);
	planned(&w);
	ck_assert_str_eq(w.plan.elements.items[0].comment, "runtime/podman:x");
	ck_assert_int_eq(w.plan.elements.items[0].expires, 0);
	world_clear(&w);

	/* different targets: refused, and nothing leaks */
	wants(&w, "br0", "iface:br0", IPPROTO_TCP, 80, 80);
	wants(&w, "br0", "docker:web", IPPROTO_TCP, 80, 80);
	wants(&w, "br0", "docker:web", IPPROTO_TCP, 80, 81);
	ck_assert_int_eq(nb_desired_add(&w.desired, "br1", &mapping), 0);
	nb_desired_finish(&w.desired);
	ck_assert_int_eq(nb_plan_make(&w.desired, &w.state, false, &w.plan, NULL, &w.err), -EEXIST);
	ck_assert_str_eq(w.err.code, "conflict");
	ck_assert_str_eq(w.err.message, "two networks on bridge br0 map port 80/tcp to different "
					"targets, 127.0.0.1:80 and 127.0.0.1:81: remove one of "
					"them");
	world_clear(&w);
}
END_TEST

START_TEST(partial_states_delete_nothing_of_others)
{
	struct world w = { 0 };

	/* only 80/tcp was asked about; the bridge has more that is not shown */
	has_link(&w, "br0", 3, 1, NB_TAG_MAGIC | 1);
	has_link(&w, "br1", 4, 1, NB_TAG_MAGIC);
	w.state.table = NB_TABLE_SOUND;
	w.state.partial = true;
	has_bridge(&w, "br0", "iface:br0/docker:web/previous:1");
	has_bridge(&w, "br1", "iface:br1");
	has_chain(&w, NFPROTO_IPV4, "filter", "INPUT", true, 9);
	wants(&w, "br0", "podman:x", IPPROTO_TCP, 80, 80);
	EXPECT(&w, "first -B:br0 +B:br0(podman:x/iface:br0/docker:web/previous:1) "
		   "+T:br0.tcp.80>80 +A:br0.tcp.80>80");
	nb_desired_clear(&w.desired);

	/* a known network: the bridge is left as it is */
	wants(&w, "br0", "docker:web", IPPROTO_TCP, 80, 80);
	EXPECT(&w, "first +T:br0.tcp.80>80 +A:br0.tcp.80>80");
	nb_desired_clear(&w.desired);

	/* the key is taken away: its elements and flows alone */
	has_mapping(&w, "br0", IPPROTO_TCP, 80, 80);
	EXPECT(&w, "first -T:br0.tcp.80>80 -A:br0.tcp.80>80 | ended 3:80>80");
	world_clear(&w);
}
END_TEST

START_TEST(many_mappings)
{
	struct world w = { 0 };
	size_t ports = 1000;

	has_link(&w, "br0", 3, 0, 0);
	for (size_t port = ports; port > 0; port--)
		wants(&w, "br0", "iface:br0", IPPROTO_UDP, (unsigned int)port, 53);
	nb_desired_finish(&w.desired);
	ck_assert_int_eq(nb_plan_make(&w.desired, &w.state, true, &w.plan, NULL, &w.err), 0);
	ck_assert_uint_eq(w.plan.first.count, 2 + 2 * ports);
	ck_assert_uint_eq(w.plan.started_count, ports);
	ck_assert_uint_eq(w.plan.started[999].port, 1000);
	ck_assert_uint_ge(w.plan.finding_count, ports);
	for (size_t i = 2; i < 2 + ports; i++) {
		ck_assert_int_eq(w.plan.first.items[i].kind, NB_OP_TARGET_ADD);
		ck_assert_uint_eq(w.plan.first.items[i].element->port, i - 1);
	}
	world_clear(&w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("plan");

	unit_add(suite, "nothing_at_all", nothing_at_all);
	unit_add(suite, "add_on_empty", add_on_empty);
	unit_add(suite, "second_run_does_nothing", second_run_does_nothing);
	unit_add(suite, "one_more_and_one_less", one_more_and_one_less);
	unit_add(suite, "replaced_target", replaced_target);
	unit_add(suite, "halves_are_mended", halves_are_mended);
	unit_add(suite, "last_one_goes", last_one_goes);
	unit_add(suite, "runtime_marks", runtime_marks);
	unit_add(suite, "timed_mappings", timed_mappings);
	unit_add(suite, "damaged_tables", damaged_tables_are_made_anew);
	unit_add(suite, "newer_tables", newer_tables_are_left_alone);
	unit_add(suite, "openers", openers);
	unit_add(suite, "two_networks_on_one_bridge", two_networks_on_one_bridge);
	unit_add(suite, "partial_states", partial_states_delete_nothing_of_others);
	unit_add(suite, "many_mappings", many_mappings);
	return unit_run(suite);
}
