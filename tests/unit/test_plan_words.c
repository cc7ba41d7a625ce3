/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a plan says of itself: findings and scripts; and desired states. */
#include <stdio.h>
#include <string.h>
#include <netinet/in.h>
#include <linux/netfilter.h>

#include "unit.h"
#include "world.h"

#define FINDINGS(world, text) ck_assert_str_eq(findings(world), text)

/* Findings */

START_TEST(findings_of_an_empty_kernel)
{
	struct world w = { 0 };

	FINDINGS(&w, "");
	has_link(&w, "br0", 3, 0, 0);
	has_chain(&w, NFPROTO_IPV4, "filter", "INPUT", true, 0);
	wants(&w, "br0", "docker:web", IPPROTO_TCP, 80, 8080);
	FINDINGS(&w, "table inet nat-bridge is missing []\n"
		     "mapping br0 80/tcp to 127.0.0.1:8080 is missing [docker:web]\n"
		     "opener is missing in chain ip filter INPUT []\n"
		     "route_localnet of br0 is 0 instead of 1 [docker:web]\n");
	world_clear(&w);
}
END_TEST

START_TEST(findings_of_elements)
{
	struct world w = { 0 };

	has_usual(&w);
	/* in no set, in one of them, with another target, with another life, unasked */
	wants(&w, "br0", "iface:br0", IPPROTO_TCP, 81, 81);
	wants(&w, "br0", "iface:br0", IPPROTO_TCP, 82, 82);
	has_target(&w, "br0", IPPROTO_TCP, 82, 82);
	wants(&w, "br0", "iface:br0", IPPROTO_TCP, 83, 83);
	has_accepted(&w, "br0", IPPROTO_TCP, 83, 83);
	wants(&w, "br0", "iface:br0", IPPROTO_TCP, 84, 84);
	has_mapping(&w, "br0", IPPROTO_TCP, 84, 22);
	wants(&w, "br0", "iface:br0", IPPROTO_TCP, 85, 85);
	has_target(&w, "br0", IPPROTO_TCP, 85, 85);
	last(&w.state.targets)->expires = 5000;
	has_accepted(&w, "br0", IPPROTO_TCP, 85, 85);
	wants(&w, "br0", "iface:br0", IPPROTO_TCP, 86, 86);
	has_mapping(&w, "br0", IPPROTO_TCP, 86, 86);
	last(&w.state.targets)->comment = strdup("runtime/iface:br0");
	has_mapping(&w, "br1", IPPROTO_TCP, 87, 87);
	wants_usual(&w);
	FINDINGS(&w,
		 "mapping br0 81/tcp to 127.0.0.1:81 is missing [iface:br0]\n"
		 "mapping br0 83/tcp to 127.0.0.1:83 is missing in targets [iface:br0]\n"
		 "targets sends br0 84/tcp to 127.0.0.1:22 instead of 127.0.0.1:84 [iface:br0]\n"
		 "targets has another expiry for br0 85/tcp [iface:br0]\n"
		 "targets has another mark for br0 86/tcp [iface:br0]\n"
		 "targets has a mapping that nothing asks for: br1 87/tcp to 127.0.0.1:87 "
		 "[iface:br1]\n"
		 "mapping br0 82/tcp to 127.0.0.1:82 is missing in accepted [iface:br0]\n"
		 "accepted has a mapping that nothing asks for: br0 84/tcp to 127.0.0.1:22 "
		 "[iface:br0]\n"
		 "accepted has a mapping that nothing asks for: br1 87/tcp to 127.0.0.1:87 "
		 "[iface:br1]\n");
	world_clear(&w);
}
END_TEST

START_TEST(findings_of_tables)
{
	struct world w = { 0 };

	/* the damage is said, not each mapping */
	has_usual(&w);
	wants_usual(&w);
	w.state.table = NB_TABLE_DAMAGED;
	strcpy(w.state.damage, "chain guard is missing");
	FINDINGS(&w, "table inet nat-bridge is damaged: chain guard is missing []\n");
	w.state.table = NB_TABLE_OLDER;
	strcpy(w.state.damage, "it has schema 0, this is 1");
	FINDINGS(&w, "table inet nat-bridge is of an older version: it has schema 0, this is 1 "
		     "[]\n");
	world_clear(&w);

	w.state.table = NB_TABLE_SOUND;
	has_chain(&w, NFPROTO_IPV4, "filter", "INPUT", true, 9);
	FINDINGS(&w, "opener is left over in chain ip filter INPUT []\n"
		     "table inet nat-bridge is left over []\n");
	world_clear(&w);
}
END_TEST

START_TEST(findings_of_bridges_and_devices)
{
	struct world w = { 0 };

	has_usual(&w);
	wants_usual(&w);
	/* guards without a mapping; the comment; the device; an orphan */
	has_bridge(&w, "br1", "docker:old");
	strcpy(nb_bridge_find(&w.state.bridges, "br0")->comment, "docker:other");
	w.state.links.items[0].route_localnet = 0;
	has_link(&w, "br8", 8, 1, NB_TAG_MAGIC);
	FINDINGS(&w, "set bridges has another comment for br0 [iface:br0]\n"
		     "route_localnet of br0 is 0 instead of 1 [iface:br0]\n"
		     "device br8 is tagged, but no guard protects it [iface:br8]\n"
		     "set bridges guards br1, which has no mapping [docker:old]\n");
	world_clear(&w);

	has_usual(&w);
	wants_usual(&w);
	w.state.links.items[0].tag = 0;
	FINDINGS(&w, "the tag of br0 is missing [iface:br0]\n");
	w.state.bridges.count = 0;
	FINDINGS(&w, "bridge br0 is not guarded: it is not in set bridges [iface:br0]\n"
		     "the tag of br0 is missing [iface:br0]\n");
	/* tagged and unguarded is one thing, not three */
	w.state.links.items[0].tag = NB_TAG_MAGIC;
	FINDINGS(&w, "bridge br0 is not guarded: it is not in set bridges [iface:br0]\n"
		     "device br0 is tagged, but no guard protects it [iface:br0]\n");
	world_clear(&w);
}
END_TEST

START_TEST(findings_of_openers)
{
	struct world w = { 0 };
	struct nb_input_chain *chain;

	has_usual(&w);
	wants_usual(&w);
	chain = has_chain(&w, NFPROTO_INET, "f", "in", true, 5);
	has_extra(chain, 6);
	has_chain(&w, NFPROTO_IPV4, "filter", "INPUT", true, 0);
	FINDINGS(&w, "opener is doubled, misplaced or outdated in chain inet f in []\n"
		     "opener is missing in chain ip filter INPUT []\n");
	world_clear(&w);
}
END_TEST

START_TEST(findings_come_only_when_asked_for)
{
	struct world w = { 0 };

	has_link(&w, "br0", 3, 0, 0);
	wants_usual(&w);
	planned(&w);
	ck_assert_uint_eq(w.plan.finding_count, 0);
	world_clear(&w);
}
END_TEST

/* Scripts */

static char *script(const struct nb_plan *plan)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	nb_plan_print(plan, 0x10000000, 1000, out);
	fclose(out);
	return text;
}

START_TEST(plans_as_scripts)
{
	struct world w = { 0 };
	char *text;

	text = script(&w.plan);
	ck_assert_str_eq(text, "# nothing to change\n");
	free(text);

	has_usual(&w);
	has_link(&w, "br8", 8, 1, NB_TAG_MAGIC | 1);
	has_link(&w, "br9", 9, 0, 0);
	wants(&w, "br9", "docker:web", IPPROTO_UDP, 53, 53);
	planned(&w);
	text = script(&w.plan);
	ck_assert_str_eq(
		text,
		"# sysctl -w net.ipv4.conf.br8.route_localnet=1\n"
		"# sysctl -w net.ipv4.conf.br8.tag=0\n"
		"add element inet nat-bridge bridges { \"br9\" comment \"docker:web\" }\n"
		"delete element inet nat-bridge targets { \"br0\" . tcp . 80 }\n"
		"delete element inet nat-bridge targets { \"br0\" . udp . 53 }\n"
		"delete element inet nat-bridge accepted { \"br0\" . tcp . 80 . 127.0.0.1 . 80 }\n"
		"delete element inet nat-bridge accepted { \"br0\" . udp . 53 . 127.0.0.1 . 53 }\n"
		"add element inet nat-bridge targets { \"br9\" . udp . 53 : 127.0.0.1 . 53 }\n"
		"add element inet nat-bridge accepted { \"br9\" . udp . 53 . 127.0.0.1 . 53 }\n"
		"# sysctl -w net.ipv4.conf.br9.route_localnet=1\n"
		"# sysctl -w net.ipv4.conf.br9.tag=1851916288\n"
		"# forget untranslated flows: port 53/udp to 127.0.0.1:53\n"
		"# end the flows: port 80/tcp to 127.0.0.1:80\n"
		"# end the flows: port 53/udp to 127.0.0.1:53\n"
		"# end the flows: what is left of br0 to 127.0.0.0/8\n"
		"# end the flows: what is left of br8 to 127.0.0.0/8\n"
		"# sysctl -w net.ipv4.conf.br0.route_localnet=0\n"
		"# sysctl -w net.ipv4.conf.br0.tag=0\n"
		"delete element inet nat-bridge bridges { \"br0\" }\n");
	free(text);
	world_clear(&w);

	/* a tag that stays is not written */
	has_usual(&w);
	w.state.links.items[0].route_localnet = 0;
	wants_usual(&w);
	planned(&w);
	text = script(&w.plan);
	ck_assert_str_eq(text, "# sysctl -w net.ipv4.conf.br0.route_localnet=1\n");
	free(text);
	world_clear(&w);
}
END_TEST

/* Desired states */

START_TEST(mappings_become_elements)
{
	struct nb_mapping mapping = mapping_of("docker:web", IPPROTO_TCP, 80, 8080);
	struct nb_desired desired = { 0 };
	const struct nb_element *element;

	mapping.until = 1234;
	mapping.external = true;
	ck_assert_int_eq(nb_desired_add(&desired, "br0", &mapping), 0);
	mapping.runtime = true;
	mapping.port = 79;
	mapping.until = 0;
	ck_assert_int_eq(nb_desired_add(&desired, "br0", &mapping), 0);
	ck_assert_int_eq(nb_desired_add_pending(&desired, "br1", &mapping), 0);
	mapping.port = 78;
	ck_assert_int_eq(nb_desired_add_pending(&desired, "br1", &mapping), 0);
	nb_desired_finish(&desired);
	ck_assert_uint_eq(desired.elements.count, 2);
	element = &desired.elements.items[0];
	ck_assert_uint_eq(element->port, 79);
	ck_assert_str_eq(element->comment, "runtime/external/docker:web");
	element = &desired.elements.items[1];
	ck_assert_str_eq(element->bridge, "br0");
	ck_assert_uint_eq(element->port, 80);
	ck_assert_uint_eq(element->target.port, 8080);
	ck_assert_int_eq(element->expires, 1234000);
	ck_assert_ptr_null(element->comment);
	ck_assert_uint_eq(desired.bridges.count, 1);
	ck_assert_str_eq(desired.bridges.items[0].comment, "docker:web");
	ck_assert_uint_eq(desired.pending.items[0].port, 78);
	ck_assert_str_eq(desired.pending_bridges.items[0].name, "br1");
	nb_desired_clear(&desired);
	ck_assert_uint_eq(desired.elements.count + desired.pending.count, 0);
}
END_TEST

START_TEST(desired_from_a_state_changes_nothing)
{
	struct world w = { 0 };

	/* undo: what was there before is what is wanted */
	has_usual(&w);
	has_link(&w, "br1", 4, 1, NB_TAG_MAGIC | 1);
	has_bridge(&w, "br1", "docker:a/docker:b/previous:1");
	has_mapping(&w, "br1", IPPROTO_TCP, 80, 80);
	last(&w.state.targets)->comment = strdup("runtime/docker:a");
	last(&w.state.targets)->expires = last(&w.state.accepted)->expires = 99999;
	has_link(&w, "br2", 5, 1, NB_TAG_MAGIC);
	has_bridge(&w, "br2", "docker:bare");
	ck_assert_int_eq(nb_desired_from_state(&w.desired, &w.state, false), 0);
	ck_assert_uint_eq(w.desired.bridges.count, 2);
	ck_assert_str_eq(planned(&w), "ended 5:0>0 | restore br2 0 0 | second -B:br2");
	nb_desired_clear(&w.desired);
	ck_assert_int_eq(nb_desired_from_state(&w.desired, &w.state, true), 0);
	ck_assert_uint_eq(w.desired.bridges.count, 3);
	ck_assert_str_eq(w.desired.bridges.items[1].comment, "docker:a/docker:b");
	ck_assert_str_eq(w.desired.bridges.items[2].comment, "docker:bare");
	world_clear(&w);
}
END_TEST

START_TEST(undo_leads_back)
{
	struct world before = { 0 }, after = { 0 };

	/* before: 80/tcp and 53/udp; the command had replaced one and added another bridge */
	has_usual(&before);
	ck_assert_int_eq(nb_desired_from_state(&after.desired, &before.state, true), 0);
	has_link(&after, "br0", 3, 1, NB_TAG_MAGIC);
	has_link(&after, "br1", 4, 1, NB_TAG_MAGIC | 1);
	after.state.table = NB_TABLE_SOUND;
	has_bridge(&after, "br0", "iface:br0");
	has_bridge(&after, "br1", "iface:br1/previous:1");
	has_mapping(&after, "br0", IPPROTO_TCP, 80, 8080);
	has_mapping(&after, "br0", IPPROTO_UDP, 53, 53);
	has_mapping(&after, "br1", IPPROTO_TCP, 80, 80);
	ck_assert_str_eq(planned(&after),
			 "first -T:br0.tcp.80>8080 -T:br1.tcp.80>80 -A:br0.tcp.80>8080 "
			 "-A:br1.tcp.80>80 +T:br0.tcp.80>80 +A:br0.tcp.80>80 | ended 3:80>8080 "
			 "4:80>80 4:0>0 | restore br1 1 0 | second -B:br1");
	world_clear(&before);
	world_clear(&after);
}
END_TEST

START_TEST(keys_are_dropped)
{
	struct world w = { 0 };
	struct nb_element_list keys = { 0 };
	struct nb_element key = { .protocol = IPPROTO_TCP, .port = 80 };

	wants(&w, "a", "iface:a", IPPROTO_TCP, 80, 80);
	wants(&w, "b", "iface:b", IPPROTO_TCP, 80, 80);
	wants(&w, "b", "iface:b", IPPROTO_UDP, 80, 80);
	wants(&w, "c", "iface:c", IPPROTO_TCP, 81, 80);
	w.desired.elements.items[0].comment = strdup("runtime/iface:a");
	ck_assert_int_eq(nb_desired_tolerate(&w.desired, "d"), 0);
	strcpy(key.bridge, "a");
	ck_assert_int_eq(nb_element_list_append(&keys, &key), 0);
	strcpy(key.bridge, "b");
	ck_assert_int_eq(nb_element_list_append(&keys, &key), 0);
	strcpy(key.bridge, "c");
	ck_assert_int_eq(nb_element_list_append(&keys, &key), 0);
	nb_element_list_sort(&keys);
	nb_desired_drop(&w.desired, &keys);
	/* of a nothing is left, b has another one, c had not this one */
	ck_assert_uint_eq(w.desired.elements.count, 2);
	ck_assert_str_eq(w.desired.elements.items[0].bridge, "b");
	ck_assert_uint_eq(w.desired.elements.items[0].protocol, IPPROTO_UDP);
	ck_assert_str_eq(w.desired.elements.items[1].bridge, "c");
	ck_assert_uint_eq(w.desired.bridges.count, 2);
	ck_assert_str_eq(w.desired.bridges.items[0].name, "b");
	ck_assert_str_eq(w.desired.bridges.items[1].name, "c");
	nb_element_list_clear(&keys);
	world_clear(&w);
}
END_TEST

START_TEST(digests_see_each_change)
{
	struct nb_mapping mapping = mapping_of("iface:br0", IPPROTO_TCP, 80, 80);
	uint64_t digests[12];
	size_t count = 0;

	for (int change = 0; change < 11; change++) {
		struct nb_desired desired = { 0 };
		struct nb_mapping one = mapping;
		const char *bridge = "br0";

		switch (change) {
		case 1:
			one.port++;
			break;
		case 2:
			one.target.port++;
			break;
		case 3:
			one.target.address++;
			break;
		case 4:
			one.protocol = IPPROTO_UDP;
			break;
		case 5:
			one.until = 1;
			break;
		case 6:
			one.runtime = true;
			break;
		case 7:
			bridge = "br1";
			break;
		case 8:
			ck_assert_int_eq(nb_network_parse("docker:x", &one.network, NULL), 0);
			break;
		case 9:
			ck_assert_int_eq(nb_desired_add_pending(&desired, "br0", &one), 0);
			break;
		case 10:
			ck_assert_int_eq(nb_desired_tolerate(&desired, "br7"), 0);
			break;
		}
		ck_assert_int_eq(nb_desired_add(&desired, bridge, &one), 0);
		nb_desired_finish(&desired);
		digests[count] = nb_desired_digest(&desired);
		ck_assert_uint_eq(digests[count], nb_desired_digest(&desired));
		for (size_t i = 0; i < count; i++)
			ck_assert_msg(digests[i] != digests[count], "%zu and %zu", i, count);
		count++;
		nb_desired_clear(&desired);
	}
}
END_TEST

START_TEST(clocks)
{
	int64_t now = nb_now_ms(), monotonic = nb_monotonic_ms();

	ck_assert_int_gt(now, INT64_C(1500000000000));
	ck_assert_int_gt(monotonic, 0);
	ck_assert_int_le(monotonic, nb_monotonic_ms());
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("plan_words");

	unit_add(suite, "findings_empty_kernel", findings_of_an_empty_kernel);
	unit_add(suite, "findings_elements", findings_of_elements);
	unit_add(suite, "findings_tables", findings_of_tables);
	unit_add(suite, "findings_bridges", findings_of_bridges_and_devices);
	unit_add(suite, "findings_openers", findings_of_openers);
	unit_add(suite, "findings_when_asked", findings_come_only_when_asked_for);
	unit_add(suite, "plans_as_scripts", plans_as_scripts);
	unit_add(suite, "mappings_become_elements", mappings_become_elements);
	unit_add(suite, "desired_from_a_state", desired_from_a_state_changes_nothing);
	unit_add(suite, "undo_leads_back", undo_leads_back);
	unit_add(suite, "keys_are_dropped", keys_are_dropped);
	unit_add(suite, "digests", digests_see_each_change);
	unit_add(suite, "clocks", clocks);
	return unit_run(suite);
}
