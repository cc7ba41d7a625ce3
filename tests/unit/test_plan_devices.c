/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Plans: bridges that come and go, and the two values that are kept on a device. */
#include <stdio.h>
#include <string.h>
#include <netinet/in.h>
#include <linux/netfilter.h>

#include "unit.h"
#include "world.h"

#define EXPECT(world, text) ck_assert_str_eq(planned(world), text)

START_TEST(last_of_a_bridge_goes)
{
	struct world w = { 0 };

	has_usual(&w);
	has_link(&w, "br1", 4, 1, NB_TAG_MAGIC | 1);
	has_bridge(&w, "br1", "iface:br1/previous:1");
	has_mapping(&w, "br1", IPPROTO_TCP, 80, 80);
	has_chain(&w, NFPROTO_IPV4, "filter", "INPUT", true, 9);
	wants_usual(&w);
	EXPECT(&w, "first -T:br1.tcp.80>80 -A:br1.tcp.80>80 | ended 4:80>80 4:0>0 | restore br1 1 "
		   "0 | second -B:br1");
	world_clear(&w);
}
END_TEST

START_TEST(moved_bridge)
{
	struct world w = { 0 };

	/* the network's bridge was recreated under another name; the old one is still there */
	has_usual(&w);
	has_link(&w, "br9", 9, 0, 0);
	wants(&w, "br9", "docker:web", IPPROTO_TCP, 80, 80);
	EXPECT(&w, "first +B:br9(docker:web) -T:br0.tcp.80>80 -T:br0.udp.53>53 -A:br0.tcp.80>80 "
		   "-A:br0.udp.53>53 +T:br9.tcp.80>80 +A:br9.tcp.80>80 | enable br9 1 6e620000 | "
		   "ended 3:80>80 3:53>53 3:0>0 | restore br0 0 0 | second -B:br0");
	world_clear(&w);

	/* renamed: the device took its tag along, and nothing guards it */
	has_usual(&w);
	strcpy(w.state.links.items[0].name, "br9");
	wants(&w, "br9", "docker:web", IPPROTO_TCP, 80, 80);
	EXPECT(&w, "close br9 0 0 | first +B:br9(docker:web) -T:br0.tcp.80>80 -T:br0.udp.53>53 "
		   "-A:br0.tcp.80>80 -A:br0.udp.53>53 +T:br9.tcp.80>80 +A:br9.tcp.80>80 | enable "
		   "br9 1 6e620000 | ended 3:0>0 | second -B:br0");
	world_clear(&w);
}
END_TEST

START_TEST(after_a_flush)
{
	struct world w = { 0 };

	/* nft flush ruleset: what was open is closed first, then all is made anew */
	has_link(&w, "br0", 3, 1, NB_TAG_MAGIC | 1);
	has_link(&w, "br1", 4, 1, NB_TAG_MAGIC);
	wants_usual(&w);
	EXPECT(&w, "close br0 1 0 br1 0 0 | first +table +B:br0(iface:br0/previous:1) "
		   "+T:br0.tcp.80>80 +T:br0.udp.53>53 +A:br0.tcp.80>80 +A:br0.udp.53>53 | enable "
		   "br0 1 6e620001 | started 3:53>53 | ended 3:0>0 4:0>0");
	world_clear(&w);

	/* nothing is wanted */
	has_link(&w, "br0", 3, 1, NB_TAG_MAGIC | 1);
	EXPECT(&w, "close br0 1 0 | ended 3:0>0");
	world_clear(&w);

	/* a partial state closes them, too */
	has_usual(&w);
	has_link(&w, "br1", 4, 1, NB_TAG_MAGIC);
	w.state.partial = true;
	wants_usual(&w);
	EXPECT(&w, "close br1 0 0");
	world_clear(&w);
}
END_TEST

START_TEST(previous_values)
{
	static const struct {
		uint32_t route_localnet;
		const char *plan;
	} fresh[] = {
		{ 0, "first +table +B:br0(iface:br0) +T:br0.tcp.1>1 +A:br0.tcp.1>1 | "
		     "enable br0 1 6e620000" },
		{ 1, "first +table +B:br0(iface:br0/previous:1) +T:br0.tcp.1>1 +A:br0.tcp.1>1 | "
		     "enable br0 1 6e620001" },
		{ 7, "first +table +B:br0(iface:br0/previous:7) +T:br0.tcp.1>1 +A:br0.tcp.1>1 | "
		     "enable br0 1 6e620007" },
	};
	static const struct {
		uint32_t tag;
		const char *comment;
		uint32_t route_localnet;
		const char *restore; /* what the last remove does with the device */
	} back[] = {
		{ NB_TAG_MAGIC, "iface:br0", 1, "restore br0 0 0 | " },
		{ NB_TAG_MAGIC | 1, "iface:br0/previous:1", 1, "restore br0 1 0 | " },
		{ NB_TAG_MAGIC | 7, "iface:br0/previous:7", 1, "restore br0 7 0 | " },
		/* the tag knows better than the comment */
		{ NB_TAG_MAGIC | 1, "iface:br0", 1, "restore br0 1 0 | " },
		{ NB_TAG_MAGIC, "iface:br0/previous:1", 1, "restore br0 0 0 | " },
		/* the tag is gone or is another's: the comment; where it is silent, 0 */
		{ 0, "iface:br0", 1, "restore br0 0 | " },
		{ 0, "iface:br0/previous:1", 1, "" },
		/* nor is anything opened: it may be a new device of that name */
		{ 0, "iface:br0/previous:1", 0, "" },
		{ 0, "", 1, "restore br0 0 | " },
		{ 0x12345678, "iface:br0/previous:7", 1, "restore br0 7 | " },
		{ 0x12345678, "iface:br0", 0, "" },
	};

	for (size_t i = 0; i < COUNT(fresh); i++) {
		struct world w = { 0 };

		has_link(&w, "br0", 3, fresh[i].route_localnet, 0);
		wants(&w, "br0", "iface:br0", IPPROTO_TCP, 1, 1);
		EXPECT(&w, fresh[i].plan);
		world_clear(&w);
	}
	for (size_t i = 0; i < COUNT(back); i++) {
		struct world w = { .state.table = NB_TABLE_SOUND };
		char expected[128];

		has_link(&w, "br0", 3, back[i].route_localnet, back[i].tag);
		has_bridge(&w, "br0", back[i].comment);
		snprintf(expected, sizeof(expected), "ended 3:0>0 | %ssecond -table",
			 back[i].restore);
		ck_assert_msg(strcmp(planned(&w), expected) == 0, "row %zu: %s", i, w.text);
		world_clear(&w);
	}
}
END_TEST

START_TEST(tags_and_comments_are_mended)
{
	struct world w = { 0 };

	/* the tag was cleared: the comment still knows */
	has_usual(&w);
	w.state.links.items[0].tag = 0;
	strcpy(w.state.bridges.items[0].comment, "iface:br0/previous:1");
	wants_usual(&w);
	EXPECT(&w, "enable br0 1 6e620001");
	world_clear(&w);

	/* the sysctl was cleared; the tag needs no second writing */
	has_usual(&w);
	w.state.links.items[0].route_localnet = 0;
	wants_usual(&w);
	EXPECT(&w, "enable br0 1");
	world_clear(&w);

	/* the comment lost what the tag knows: one batch, no gap */
	has_usual(&w);
	w.state.links.items[0].tag = NB_TAG_MAGIC | 1;
	wants_usual(&w);
	EXPECT(&w, "first -B:br0 +B:br0(iface:br0/previous:1)");
	world_clear(&w);

	/* another network of the bridge */
	has_usual(&w);
	wants_usual(&w);
	wants(&w, "br0", "docker:web", IPPROTO_TCP, 81, 81);
	EXPECT(&w, "first -B:br0 +B:br0(iface:br0/docker:web) +T:br0.tcp.81>81 +A:br0.tcp.81>81");
	world_clear(&w);

	/* the order of networks is none */
	has_usual(&w);
	strcpy(w.state.bridges.items[0].comment, "docker:web/iface:br0");
	wants_usual(&w);
	wants(&w, "br0", "docker:web", IPPROTO_TCP, 80, 80);
	EXPECT(&w, "");
	world_clear(&w);
}
END_TEST

START_TEST(foreign_tag_stays)
{
	struct world w = { 0 };

	has_link(&w, "br0", 3, 0, 0x12345678);
	wants(&w, "br0", "iface:br0", IPPROTO_TCP, 1, 1);
	EXPECT(&w, "first +table +B:br0(iface:br0) +T:br0.tcp.1>1 +A:br0.tcp.1>1 | enable br0 1");
	ck_assert_uint_eq(w.warnings.count, 1);
	ck_assert_ptr_nonnull(strstr(w.warnings.items[0], "br0 has a tag of another program "
							  "(0x12345678)"));
	world_clear(&w);

	/* it was open before: only the comment can remember it */
	has_link(&w, "br0", 3, 1, 0x12345678);
	wants(&w, "br0", "iface:br0", IPPROTO_TCP, 1, 1);
	EXPECT(&w, "first +table +B:br0(iface:br0/previous:1) +T:br0.tcp.1>1 +A:br0.tcp.1>1");
	world_clear(&w);

	/* somebody else's device is none of our business */
	has_link(&w, "br7", 7, 1, 0x12345678);
	EXPECT(&w, "");
	ck_assert_uint_eq(w.warnings.count, 0);
	world_clear(&w);
}
END_TEST

START_TEST(pending_is_tolerated)
{
	struct nb_mapping mapping = mapping_of("iface:br0", IPPROTO_TCP, 80, 80);
	struct world w = { 0 };

	/* absent bridge, nothing there: nothing is added */
	ck_assert_int_eq(nb_desired_add_pending(&w.desired, "br0", &mapping), 0);
	EXPECT(&w, "");
	/* nor is it when the table is there for others */
	w.state.table = NB_TABLE_SOUND;
	has_link(&w, "br1", 4, 1, NB_TAG_MAGIC);
	has_bridge(&w, "br1", "iface:br1");
	has_mapping(&w, "br1", IPPROTO_TCP, 80, 80);
	wants(&w, "br1", "iface:br1", IPPROTO_TCP, 80, 80);
	EXPECT(&w, "");
	/* what is there already stays, with its guard */
	has_bridge(&w, "br0", "iface:br0");
	has_mapping(&w, "br0", IPPROTO_TCP, 80, 80);
	EXPECT(&w, "");
	/* but not with another target, nor what nobody asks for */
	has_mapping(&w, "br0", IPPROTO_TCP, 81, 81);
	EXPECT(&w, "first -T:br0.tcp.81>81 -A:br0.tcp.81>81");
	world_clear(&w);

	w.state.table = NB_TABLE_SOUND;
	has_bridge(&w, "br0", "iface:br0");
	has_mapping(&w, "br0", IPPROTO_TCP, 80, 22);
	ck_assert_int_eq(nb_desired_add_pending(&w.desired, "br0", &mapping), 0);
	EXPECT(&w, "first -T:br0.tcp.80>22 -A:br0.tcp.80>22");
	world_clear(&w);
}
END_TEST

START_TEST(guards_of_expired_mappings_may_stay)
{
	struct world w = { .state.table = NB_TABLE_SOUND };

	has_link(&w, "br0", 3, 1, NB_TAG_MAGIC);
	has_bridge(&w, "br0", "iface:br0");
	ck_assert_int_eq(nb_desired_tolerate(&w.desired, "br0"), 0);
	EXPECT(&w, "");
	/* but its way in is not opened again */
	w.state.links.items[0].route_localnet = 0;
	EXPECT(&w, "");
	/* nor is the guard made */
	w.state.bridges.count = 0;
	EXPECT(&w, "close br0 0 0 | ended 3:0>0 | second -table");
	w.state.table = NB_TABLE_ABSENT;
	w.state.links.items[0].tag = 0;
	EXPECT(&w, "");
	world_clear(&w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("plan_devices");

	unit_add(suite, "last_of_a_bridge_goes", last_of_a_bridge_goes);
	unit_add(suite, "moved_bridge", moved_bridge);
	unit_add(suite, "after_a_flush", after_a_flush);
	unit_add(suite, "previous_values", previous_values);
	unit_add(suite, "tags_and_comments_are_mended", tags_and_comments_are_mended);
	unit_add(suite, "foreign_tag_stays", foreign_tag_stays);
	unit_add(suite, "pending_is_tolerated", pending_is_tolerated);
	unit_add(suite, "guards_of_expired", guards_of_expired_mappings_may_stay);
	return unit_run(suite);
}
